"""The Python names for the document's names.

Invariants: every rule gives the names of the 0.5 line, so that its imports, attributes and keyword
arguments go on working.
"""

from __future__ import annotations

import keyword
import re

from humanloop.operation import argument_name
from humanloop.schemas import DictSchema

__all__ = ["argument_name", "attribute_name", "class_name", "module_name"]

# frozendict is a dict on some versions of Python only; a stub holds for all of them.
RESERVED = {*dir(dict), *dir(DictSchema)}


def module_name(name: str) -> str:
    """Return the module of a class or the attribute of a tag.

    `HTTPValidationError` gives `http_validation_error`, `Model Configs` gives `model_configs`.
    """
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", re.sub(r"\W+", "_", name))
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words).lower()


def class_name(tag: str) -> str:
    """Return the class of a tag: `Model Configs` gives `ModelConfigsApi`."""
    return f"{re.sub(r'[^0-9A-Za-z]+', '', tag)}Api"


def attribute_name(key: str) -> str | None:
    """Return the attribute for a declared key; None if the key is for item access only."""
    usable = key.isidentifier() and not key.startswith("_") and not keyword.iskeyword(key)
    return key if usable and key not in RESERVED else None
