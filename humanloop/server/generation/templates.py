"""Templates: text with `{{ name }}` as a placeholder for an input's value.

A name consists of letters, digits, `_`, `.`, `[` and `]`. Invariants: the text is scanned once, so
a value is never read as a template; either every variable has a value or nothing is filled in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from humanloop import schemas
from humanloop.server.errors import Invalid, Location, Problem, invalid

MAX_CHARACTERS = 10_000_000
"""The most characters filled in for one request: few variables can make a small body enormous."""

_VARIABLE = re.compile(r"\{\{\s*([\w.\[\]]+)\s*\}\}")
_PATH = re.compile(r"\w+(?:\.\w+|\[\w+\])*")
_INDEX = re.compile(r"[0-9]{1,9}")


def fill(templates: Sequence[str], inputs: Mapping[str, Any], location: Location) -> list[str]:
    """Return the templates with their variables replaced by values from `inputs`.

    location: the place of the inputs in the request. Raises Invalid with every variable that is
        missing there, or if the texts get too long.
    """
    names = Counter(name for template in templates for name in _VARIABLE.findall(template))
    values: dict[str, str] = {}
    missing: list[Problem] = []
    for name in names:
        try:
            values[name] = to_text(_look_up(inputs, name))
        except LookupError:
            message = f"the template needs a value for the variable {name!r}"
            missing.append(Problem((*location, name), message, "required"))
    if missing:
        raise Invalid(missing)
    if sum(count * len(values[name]) for name, count in names.items()) > MAX_CHARACTERS:
        message = f"the template filled with the inputs has over {MAX_CHARACTERS:,} characters"
        raise invalid(location, message, "maxLength")
    return [_VARIABLE.sub(lambda found: values[found[1]], template) for template in templates]


def _look_up(inputs: Mapping[str, Any], name: str) -> Any:
    """Return the input with exactly that name, else the value at its path: `user.name`, `items[0]`.

    Raises LookupError if there is neither.
    """
    if name in inputs:
        return inputs[name]
    if not _PATH.fullmatch(name):
        raise LookupError(name)
    value: Any = inputs
    for step in re.findall(r"\w+", name):
        if isinstance(value, list) and _INDEX.fullmatch(step):
            value = cast("list[object]", value)[int(step)]
        elif isinstance(value, dict):
            value = cast("dict[str, Any]", value)[step]
        else:
            raise LookupError(name)
    return value


def to_text(value: Any) -> str:
    """Return the text that replaces a variable with that value."""
    return value if isinstance(value, str) else schemas.to_json(value)
