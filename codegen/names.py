"""What the document's names become in Python.

What stays true: every rule gives the names of the 0.5 line, so that its imports, attributes and
keyword arguments go on working.
"""

from __future__ import annotations

import keyword
import re

from humanloop.schemas import DictSchema

__all__ = ["argument_name", "attribute_name", "class_name", "module_name"]

# frozendict is a dict on some versions of Python only; a stub holds for all of them.
RESERVED = {*dir(dict), *dir(DictSchema)}


def module_name(name: str) -> str:
    """The module of a class or the attribute of a tag.

    `HTTPValidationError` gives `http_validation_error`, `Model Configs` gives `model_configs`.
    """
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", re.sub(r"\W+", "_", name))
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words).lower()


def class_name(tag: str) -> str:
    """The class of a tag: `Model Configs` gives `ModelConfigsApi`."""
    return f"{re.sub(r'[^0-9A-Za-z]+', '', tag)}Api"


def argument_name(name: str) -> str:
    """The Python argument for a parameter or a body key: a keyword gets a leading underscore."""
    return f"_{name}" if keyword.iskeyword(name) else name


def attribute_name(key: str) -> str | None:
    """The attribute that a declared key is read by; None if the key is for item access only."""
    usable = key.isidentifier() and not key.startswith("_") and not keyword.iskeyword(key)
    return key if usable and key not in RESERVED else None
