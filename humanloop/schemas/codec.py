"""JSON text to values and back, every digit kept both ways.

Numbers with a fraction or an exponent are read as `Decimal`, so is an integer too long for `int` to
parse; they are written as they are. Strings keep their characters (lone surrogates, which UTF-8
can't hold, are escaped).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring
from typing import Any

from humanloop.schemas.casting import is_mapping, is_sequence
from humanloop.schemas.trampoline import Steps, run

__all__ = ["decode", "encode", "refuse_constant"]


def _exact(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the exponent of {text:.40} is beyond what can be held") from None
    sign, digits, exponent = number.as_tuple()
    # "1e0" has an exponent part, so it is no integer (OpenAPI 3.0): Decimal("1") would forget that.
    return number if exponent else Decimal((sign, (*digits, 0), -1))


def refuse_constant(name: str) -> Any:
    """What `json` is to do with NaN and the infinities, which it reads though JSON has none."""
    raise ValueError(f"{name} is not a JSON number")


def decode(data: str | bytes) -> Any:
    """The value that JSON text means, in dict, list, str, int, Decimal, bool and None.

    Raises:
        ValueError: `data` is not JSON, is nested too deeply, or is not in UTF-8, UTF-16 or UTF-32.
    """
    if isinstance(data, bytes):
        data = data.decode(json.detect_encoding(data))
    try:
        return json.loads(data, parse_float=_exact, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("it is nested more deeply than can be handled") from None
    except ValueError as error:
        # int() refuses numbers of more than 4,300 digits; Decimal reads them exactly.
        if not str(error).startswith("Exceeds the limit"):
            raise
    return json.loads(data, parse_float=_exact, parse_int=Decimal, parse_constant=refuse_constant)


def encode(value: Any) -> str:
    """A cast value, or an instance, as compact JSON text.

    Raises:
        TypeError: there are bytes or a file in it.
    """
    parts: list[str] = []
    run(_write(value, parts.append))
    text = "".join(parts)
    return text if text.isascii() else _without_surrogates(text)


def _write(value: Any, out: Callable[[str], None]) -> Steps[None]:
    if isinstance(value, str):
        out(encode_basestring(value))
    elif isinstance(value, Decimal):
        out(str(value))
    elif is_sequence(value):
        separator = "["
        for item in value:
            out(separator)
            yield _write(item, out)
            separator = ","
        out("[]" if separator == "[" else "]")
    elif is_mapping(value):
        separator = "{"
        for key, item in value.items():
            out(f"{separator}{encode_basestring(key)}:")
            yield _write(item, out)
            separator = ","
        out("{}" if separator == "{" else "}")
    elif value == None:  # noqa: E711 - NoneClass equals None, and is not it
        out("null")
    elif value == True or value == False:  # noqa: E712 - so does BoolClass
        out("true" if value else "false")
    else:
        raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _without_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text
