"""The values in logs: arguments and results of functions, copied as JSON.

A log is for reading, not for restoring values: a value that is too deep or too large is cut,
secrets are masked by their names as everywhere, and a value that JSON can't hold is shown by its
repr.

Invariants: a copy shares nothing with its value, so later changes are not logged. A part that can't
be read is replaced, and the rest is kept. Every text can be stored.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, NamedTuple, cast
from uuid import UUID

from humanloop.secrets import MASK, is_secret_name, mask_keys

__all__ = ["MODEL_CALLS", "Copy", "Limits", "as_json", "as_text", "storable"]

DEPTH = 20
_LARGEST_INT = 1 << 1024  # far below Python's limit for the digits of an int


class Limits(NamedTuple):
    """The limits for one value with all its parts; the rest is left out."""

    text: int = 100_000
    """Characters of one text."""
    texts: int = 1_000_000
    """Characters of all texts together."""
    values: int = 10_000


FUNCTIONS = Limits()
MODEL_CALLS = Limits(text=4_000_000, texts=8_000_000, values=100_000)
"""The limits for a model's requests and answers, which may contain documents."""


def as_json(value: Any, failed: Callable[[Exception], object], limits: Limits = FUNCTIONS) -> Any:
    """Return a value as plain JSON: dict, list, str, int, float, bool and None.

    failed: is called with the error of each part that can't be read.
    """
    return Copy(failed, limits).of(value)


def as_text(copied: Any) -> str | None:
    """Return the text of a result of `as_json`: a str unchanged, None as None, otherwise JSON."""
    if copied is None or isinstance(copied, str):
        return copied
    return json.dumps(copied, ensure_ascii=False)


def storable(text: str) -> str:
    """Replace the characters that no server can store: U+0000 and lone surrogates.

    A pair of surrogates becomes its character.
    """
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\ufffd")


class Copy:
    """Copies values as JSON, within limits for all of them together."""

    def __init__(self, failed: Callable[[Exception], object], limits: Limits = FUNCTIONS) -> None:
        self._failed = failed
        self._longest = limits.text
        self._texts_left = limits.texts
        self._values_left = limits.values

    @property
    def is_full(self) -> bool:
        """True if a limit is reached, so the rest is left out."""
        return self._values_left <= 0 or self._texts_left <= 0

    def of(self, value: Any, depth: int = DEPTH) -> Any:
        """Return a copy."""
        self._values_left -= 1
        kind = cast("object", type(value))
        if kind is str:  # the most frequent type
            return self._text(value)
        if value is None or kind is bool:
            return value
        try:
            return self._of(value, depth)
        except Exception as error:
            self._failed(error)
            return f"<{type(value).__name__} that can't be read>"

    def _of(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.of(value.value, depth)
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, int):
            small = -_LARGEST_INT < value < _LARGEST_INT
            return int(value) if small else f"<int of {value.bit_length():,} bits>"
        if isinstance(value, (float, Decimal)):
            number = float(value)
            return number if math.isfinite(number) else str(value)
        if isinstance(value, (date, UUID, PurePath)):
            return self._text(str(value))
        if depth == 0 or self.is_full:
            return "..."
        return self._of_many(value, depth - 1)

    def _of_many(self, value: Any, depth: int) -> Any:
        # Look at the type, since an instance of a mock or a proxy has every attribute.
        if hasattr(cast("object", type(value)), "model_dump") and not isinstance(value, type):
            return self.of(value.model_dump(warnings=False), depth)  # pydantic's
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [each.name for each in dataclasses.fields(value) if each.repr]
            return self._of_mapping({name: getattr(value, name, "...") for name in names}, depth)
        if isinstance(value, Mapping):
            return self._of_mapping(value, depth)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(cast('bytes', value))} bytes>"
        if isinstance(value, (Sequence, Set)):
            return [self.of(item, depth) for item in self._some(cast("Sequence[Any]", value))]
        return self._text(mask_keys(repr(cast("object", value))))

    def _of_mapping(self, value: Any, depth: int) -> dict[str, Any]:
        return {
            self._text(str(key)): MASK if is_secret_name(key) else self.of(value[key], depth)
            for key in self._some(value)
        }

    def _some(self, values: Any) -> Any:
        for value in values:
            if self.is_full:
                return
            yield value

    def _text(self, text: str) -> str:
        length, left = len(text), self._texts_left
        self._texts_left = left - length
        if length > self._longest or length > left:
            room = max(min(self._longest, left), 0)
            text = f"{text[:room]}... ({length:,} characters)"
        return storable(text)
