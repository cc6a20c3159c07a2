"""What is logged of arguments and results: JSON, without secrets, and not too large.

Nothing of it is needed to be exact: what JSON has no form for is shown by its repr.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence, Set
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from humanloop.secrets import MASK, is_secret_name, mask_keys

__all__ = ["as_json", "as_text"]

DEPTH = 20
LONGEST_TEXT = 100_000
"""Characters of a text; the rest is left out."""
MOST_VALUES = 10_000
"""Values of all arguments together; what comes after them is left out."""


def as_text(value: Any) -> str | None:
    """Return a result as a text: a str as it is, None as none, and else its JSON."""
    if value is None or type(value) is str:
        return value
    return json.dumps(as_json(value), ensure_ascii=False)


def as_json(value: Any) -> Any:
    """Return a value as dict, list, str, int, float, bool and None."""
    return _Copy().of(value, DEPTH)


class _Copy:
    def __init__(self) -> None:
        self._left = MOST_VALUES

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value if value is None else bool(value)
        if isinstance(value, Enum):
            return self.of(value.value, depth)
        if isinstance(value, str):
            return _cut(str(value))
        if isinstance(value, int):
            return int(value)
        if isinstance(value, (float, Decimal)):
            number = float(value)
            return number if math.isfinite(number) else str(value)
        if isinstance(value, (date, UUID, PurePath)):
            return str(value)
        if depth == 0 or self._left <= 0:
            return "..."
        return self._of_many(value, depth - 1)

    def _of_many(self, value: Any, depth: int) -> Any:
        if hasattr(value, "model_dump") and not isinstance(value, type):
            return self.of(value.model_dump(), depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = (each.name for each in dataclasses.fields(value) if each.repr)
            return self._of_mapping({name: getattr(value, name) for name in names}, depth)
        if isinstance(value, Mapping):
            return self._of_mapping(value, depth)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return f"<{len(cast('bytes', value))} bytes>"
        if isinstance(value, (Sequence, Set)):
            return [self.of(item, depth) for item in self._some(cast("Sequence[Any]", value))]
        return mask_keys(_cut(repr(cast("object", value))))

    def _of_mapping(self, value: Any, depth: int) -> dict[str, Any]:
        return {
            str(key): MASK if is_secret_name(key) else self.of(value[key], depth)
            for key in self._some(value)
        }

    def _some(self, values: Any) -> Any:
        for value in values:
            if self._left <= 0:
                return
            yield value


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}... ({len(text):,} characters)"
