"""Values written as JSON text and as plain Python objects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, get_args

from humanloop.exceptions import ApiValueError
from humanloop.schemas.casting import (
    TOO_DEEP,
    cast,
    deep_nesting_start,
    is_array,
    is_integer,
    is_object,
)
from humanloop.schemas.codec import encode, encode_instance
from humanloop.schemas.errors import check_choice
from humanloop.schemas.metaclass import SchemaMeta

__all__ = ["Numbers", "to_json", "to_primitive"]

Numbers = Literal["float", "decimal"]
"""The Python type of numbers with a fraction or an exponent."""


def to_json(value: Any) -> str:
    """Return any value that a schema class accepts, or an instance, as compact JSON text.

    Raises:
        ApiValueError: it contains a value that JSON can't represent, or is nested too deeply.
    """
    try:
        if isinstance(type(value), SchemaMeta):
            return encode_instance(value)
        return encode(_plain(value))
    except TypeError as error:
        raise ApiValueError(str(error)) from None
    except RecursionError:
        raise ApiValueError(TOO_DEEP, deep_nesting_start(value)) from None


def to_primitive(value: Any, *, numbers: Numbers = "float") -> Any:
    """Return any value that a schema class accepts, or an instance, in plain objects.

    numbers: see `Schema.to_primitive`.

    Raises:
        ApiValueError: it contains a value that JSON can't represent, it is nested too deeply, or
            `numbers` is neither of its values.
    """
    check_choice("numbers", numbers, get_args(Numbers))
    try:
        return _primitive(_plain(value), numbers)
    except RecursionError:
        raise ApiValueError(TOO_DEEP, deep_nesting_start(value)) from None


def _plain(value: Any) -> Any:
    plain, refused = cast(value)
    if refused:
        path, message = refused[0]
        raise ApiValueError(message, path)
    return plain


def _primitive(plain: Any, numbers: Numbers) -> Any:
    if is_object(plain):
        return {key: _primitive(item, numbers) for key, item in plain.items()}
    if is_array(plain):
        return [_primitive(item, numbers) for item in plain]
    if not isinstance(plain, Decimal):
        return plain
    # Python itself parses no longer ints, since that takes quadratic time.
    if is_integer(plain) and plain.adjusted() < 4300:
        return int(plain)
    if numbers == "decimal":
        return plain
    number = float(plain)
    return plain if number in (float("inf"), float("-inf")) else number
