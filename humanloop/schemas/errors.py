"""The error for an invalid value: one `SchemaValidationError` with every error and its place.

Values are shown shortened, containers by their size only, and never under a key that names a
secret: an error message may end up in a log.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from humanloop.exceptions import ApiValueError, ErrorDetail, SchemaValidationError
from humanloop.schemas.casting import Path, is_array, is_object
from humanloop.secrets import is_secret_name, masked_start, shorten

__all__ = ["HIDDEN", "ErrorDetail", "SchemaValidationError", "check_choice", "show"]


class _Hidden:
    __slots__ = ()


HIDDEN = _Hidden()
"""A placeholder for a value that must not be shown."""


def show(value: Any, path: Path = ()) -> str:
    """Return a cast value for a message: typed, short, masked if `path` or the text is secret."""
    if is_object(value):
        return f"an object with {_count(len(value), 'key')}"
    if is_array(value):
        return f"an array of {_count(len(value), 'item')}"
    match value:
        case None:
            return "null (None)"
        case bool():
            return f"the boolean {value}"
        case bytes():
            return f"{_count(len(value), 'byte')}"
        case _Hidden():
            return "a value that is not shown"
        case str() | Decimal() if any(is_secret_name(key) for key in path):
            return "a value that is not shown"
        case Decimal():
            return f"the number {shorten(str(value))}"
        case str():
            return f"the string {shorten(repr(masked_start(value)))}"
        case _:
            return f"an object of type {type(value).__name__}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ApiValueError unless the argument of this name is one of its possible values."""
    if value not in choices:
        listed = " or ".join(map(repr, choices))
        raise ApiValueError(f"{name} has to be {listed}, got {shorten(repr(value), 40)}")
