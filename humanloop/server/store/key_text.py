"""Texts that identify rows, and so stand in indexes: names, reference ids and labels.

PostgreSQL limits an index entry to 2,704 bytes, but after compression, so whether a longer text
fits depends on its content. SQLite has no limit. Invariants: a text is a valid key on every
database or on none.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

MAX_BYTES = 2500
"""The most bytes of a key in UTF-8: together with ids, it then fits into PostgreSQL's indexes."""


class KeyTooLong(ValueError):
    """A text is too long to be a key."""

    def __init__(self, text: str) -> None:
        size = len(text.encode())
        super().__init__(
            f"got a key of {size:,} bytes in UTF-8, at most {MAX_BYTES:,} can be stored"
        )
        self.text = text


class KeyText(TypeDecorator[str]):
    """A column of keys; a value that is too long is refused, also in a look-up."""

    impl = Text
    cache_ok = True

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        """Return the type for values compared with the column: a part of a key is not a key."""
        return self if op in {operators.eq, operators.in_op} else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text. Raises KeyTooLong."""
        # Most texts are so short that nothing is encoded.
        if value is not None and len(value) * 4 > MAX_BYTES and len(value.encode()) > MAX_BYTES:
            raise KeyTooLong(value)
        return value
