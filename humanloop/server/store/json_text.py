"""JSON values in the database: text with every digit of their numbers.

Invariants: a stored value can be read again, also inside a response.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from humanloop import schemas
from humanloop.schemas.casting import is_deeper_than

Json = dict[str, Any] | list[Any] | str | int | Decimal | None

MAX_DEPTH = schemas.MAX_DEPTH - 10
"""The deepest nesting of a stored JSON value. A response adds up to six levels around it."""


class TooDeep(ValueError):
    """A JSON value is nested too deeply to be stored."""


class Encoded(str):
    """JSON text that was encoded before the transaction."""

    __slots__ = ()


class JsonText(TypeDecorator[Any]):
    """A column of JSON values, encoded and decoded by humanloop.schemas: no digit is lost."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text to store; None is NULL, not the JSON null. Raises TooDeep."""
        return value if value is None or isinstance(value, Encoded) else to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the stored value."""
        return None if value is None else schemas.loads(value)


def to_json(value: Any) -> Encoded:
    """Return JSON text that a response can hold; raises TooDeep."""
    text = schemas.to_json(value)
    # Few values have that many brackets, so the walk over the value is rare.
    if text.count("[") + text.count("{") > MAX_DEPTH and is_deeper_than(MAX_DEPTH, value):
        raise TooDeep(f"nested over {MAX_DEPTH} levels deep")
    return Encoded(text)
