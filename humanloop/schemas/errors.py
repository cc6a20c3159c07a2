"""The error for a bad value: one `SchemaValidationError` that holds every error and its place.

Values are shown shortened, containers by their size only, and never under a key that names a
secret: an error message may end in a log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from humanloop.exceptions_base import OpenApiException, render_path
from humanloop.schemas.casting import Path, is_array, is_object
from humanloop.secrets import is_secret_name, mask_keys, printable, shorten, shorten_middle

__all__ = ["HIDDEN", "ErrorDetail", "SchemaValidationError", "show"]

SHOWN_ERRORS = 50
SHOWN_PLACE = 200
SUMMARY = 300


@dataclass(frozen=True)
class ErrorDetail:
    """One thing that is wrong with a value.

    path: the keys and indices that lead to it, from the outermost value inwards.
    keyword: the schema keyword that it breaks, such as `type` or `required`.
    message: what came and what was wanted, in one line without the place.
    """

    path: Path
    keyword: str
    message: str

    @property
    def pointer(self) -> str:
        """The place as an RFC 6901 JSON pointer; empty for the outermost value."""
        return render_path(self.path)

    def __str__(self) -> str:
        # A key may hold anything; what is printed stays one line that can be encoded.
        place = shorten_middle(printable(self.pointer), SHOWN_PLACE)
        return f"{place or '(top level)'}: {self.message}"


class SchemaValidationError(OpenApiException, ValueError):
    """A value that does not fit its schema.

    errors: everything that is wrong, outermost and leftmost first.
    schema_name: the name of the schema that was asked for.
    """

    def __init__(self, errors: Sequence[ErrorDetail], schema_name: str = "value") -> None:
        self.errors = tuple(errors)
        self.schema_name = schema_name
        super().__init__(self.errors, schema_name)

    @property
    def is_unreadable(self) -> bool:
        """True if the text can't be read as JSON, so that the schema had no say."""
        return self.errors[0].keyword in ("json", "depth")

    @property
    def summary(self) -> str:
        """The first error, and how many more there are, in one line that fits a log."""
        first, more = shorten_middle(str(self.errors[0]), SUMMARY), len(self.errors) - 1
        return f"{self.schema_name}: {first}" + (f" (and {more:,} more)" if more else "")

    def __str__(self) -> str:
        count = len(self.errors)
        lines = [f"{self.schema_name}: {count} error{'s' if count != 1 else ''}"]
        lines += [f"  {error}" for error in self.errors[:SHOWN_ERRORS]]
        if count > SHOWN_ERRORS:
            lines.append(f"  ... and {count - SHOWN_ERRORS} more, in .errors")
        return "\n".join(lines)


class _Hidden:
    __slots__ = ()


HIDDEN = _Hidden()
"""Stands for a value that is not to be shown."""


def show(value: Any, path: Path = ()) -> str:
    """Return how a message shows a cast value: typed, short, masked if `path` or text is secret."""
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
            return f"the string {shorten(repr(mask_keys(value[:200])))}"
        case _:
            return f"an object of type {type(value).__name__}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
