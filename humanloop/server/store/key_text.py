"""Text that leads to its row: names, reference ids and labels, which stand in indexes.

PostgreSQL takes an entry of an index up to 2,704 bytes, and only after compression, so whether a
longer text fits depends on what it says. SQLite takes anything. Invariants: a text is a key on
every database or on none.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

MAX_BYTES = 2500
"""Of a key in UTF-8: with the ids before it, it fills an entry of PostgreSQL's indexes."""


class KeyTooLong(ValueError):
    """A text is too long to be a key."""

    def __init__(self, text: str) -> None:
        size = len(text.encode())
        super().__init__(
            f"a key of {size:,} bytes in UTF-8 came, at most {MAX_BYTES:,} can be kept"
        )
        self.text = text


class KeyText(TypeDecorator[str]):
    """A column of keys, whose values are refused when they are too long, also in a look-up."""

    impl = Text
    cache_ok = True

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        """Return the type of what the column is compared with: a part of a key is no key."""
        return self if op in {operators.eq, operators.in_op} else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text. Raises KeyTooLong."""
        # Most are so short that nothing is encoded.
        if value is not None and len(value) * 4 > MAX_BYTES and len(value.encode()) > MAX_BYTES:
            raise KeyTooLong(value)
        return value
