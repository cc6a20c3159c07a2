"""JSON text to values and back, every digit kept both ways.

Numbers with a fraction or an exponent are read as `Decimal`, so is an integer too long for `int` to
parse; they are written as they are. Strings keep their characters (lone surrogates, which UTF-8
can't hold, are escaped). Where msgspec is installed (the extra `fast`), it does the work; whatever
it refuses the standard library does again, so that values and errors are the same. Only how deep a
text may be nested depends on which of them reads it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from importlib import import_module
from itertools import repeat
from json.encoder import encode_basestring
from typing import Any

from frozendict import frozendict

from humanloop.schemas.native import FastPathMiss, converters
from humanloop.schemas.values import BoolClass, NoneClass

try:
    _msgspec: Any = import_module("msgspec")
except ImportError:
    _msgspec = None

__all__ = ["decode", "decoder", "encode", "encode_instance", "refuse_constant"]

NUMBERS = 4096
"""How many numbers are kept ready for reading; then they are forgotten, and kept as they come."""

DIGITS = 8
"""Numbers that are written in so many characters are kept."""

CLASSES = 4096
"""For how many classes it is kept how their instances are written."""

_OBJECT: Any = frozendict


# -- reading --------------------------------------------------------------------------------------


def refuse_constant(name: str) -> Any:
    """What `json` is to do with NaN and the infinities, which it reads though JSON has none."""
    raise ValueError(f"{name} is not a JSON number")


class _Numbers(dict[str, Any]):
    """The numbers of texts with a fraction or an exponent, the short ones kept."""

    def __init__(self, new: Callable[[Any], Any]) -> None:
        self.new = new

    def __missing__(self, text: str) -> Any:
        if "e" in text or "E" in text:
            return self.with_exponent(text)
        number = self.new(text)
        if len(text) <= DIGITS:
            if len(self) >= NUMBERS:
                self.clear()
            self[text] = number
        return number

    def with_exponent(self, text: str) -> Any:
        try:
            number = self.new(text)
        except InvalidOperation:
            number = None
        if number is None or not number.is_finite():  # the caller's context decides which
            raise ValueError(f"the exponent of {text:.40} is beyond what can be held")
        # "1e0" has an exponent part, so it is no integer (OpenAPI 3.0): Decimal would forget.
        sign, digits, exponent = number.as_tuple()
        return number if exponent else self.new((sign, (*digits, 0), -1))


def decoder(
    new: Callable[[Any], Any], *, fast: bool = _msgspec is not None
) -> Callable[[str | bytes | bytearray], Any]:
    """What reads JSON text into dict, list, str, int, bool, None and what `new` makes of numbers.

    new: takes the text of a number with a fraction or an exponent, or a tuple of sign, digits and
        exponent, as `Decimal` does. fast: whether msgspec is to be asked first.
    """

    def integer(text: str) -> Any:
        return new("0" if text == "-0" else text)

    number = _Numbers(new).__getitem__
    read = json.JSONDecoder(parse_float=number, parse_constant=refuse_constant).decode
    read_fast = _msgspec.json.Decoder(float_hook=number).decode if _msgspec and fast else None

    def decode(data: str | bytes | bytearray) -> Any:
        """The value that JSON text means.

        Raises:
            ValueError: it is not JSON, is nested too deeply, or is not in UTF-8, UTF-16 or UTF-32.
            TypeError: it is no text.
        """
        if not isinstance(data, (str, bytes, bytearray)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"expected JSON text in str or bytes, got {type(data).__name__}")
        if read_fast is not None:
            # The standard library says what is wrong, or takes it.
            try:
                return read_fast(data)
            except (_msgspec.MsgspecError, ValueError, RecursionError):
                pass
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
        if text.startswith("\ufeff"):
            raise ValueError("it starts with a byte order mark")
        try:
            return read(text)
        except RecursionError:
            raise ValueError("it is nested more deeply than can be handled") from None
        except ValueError as error:
            # int() refuses numbers of more than 4,300 digits; Decimal reads them exactly.
            if not str(error).startswith("Exceeds the limit"):
                raise
        return json.loads(
            text, parse_float=number, parse_int=integer, parse_constant=refuse_constant
        )

    return decode


decode = decoder(Decimal)


# -- writing --------------------------------------------------------------------------------------


class _Writers(dict[type, Any]):
    """How the values of a class are written: by a function, or part by part."""

    def __missing__(self, cls: type) -> Any:
        writer = next((how for bases, how in _BY_BASE if issubclass(cls, bases)), None)
        if writer is None:
            raise TypeError(f"{cls.__name__} can't be written as JSON")
        if len(self) < CLASSES:
            self[cls] = writer
        return writer


def _bool(value: object) -> str:
    return "true" if value else "false"


def _null(value: object) -> str:
    return "null"


_BY_BASE: list[tuple[Any, Any]] = [
    (str, encode_basestring),
    (Decimal, str),
    ((dict, _OBJECT), "object"),
    ((list, tuple), "array"),
    ((bool, BoolClass), _bool),
    ((type(None), NoneClass), _null),
]
_writers = _Writers()


def encode(value: Any) -> str:
    """A cast value, or an instance, as compact JSON text.

    Raises:
        TypeError: there are bytes or a file in it.
    """
    try:
        text = converters.json_text(value)
    except FastPathMiss:
        text = _encode_deep(value)
    return text if text.isascii() else _without_surrogates(text)


def _encode_deep(value: Any) -> str:
    """Return a value of any depth as JSON text."""
    parts: list[str] = []
    out = parts.append
    around: list[tuple[Any, str]] = []
    items, end, before = iter([(None, value)]), "", ""
    while True:
        for key, item in items:
            head = before if key is None else f"{before}{encode_basestring(key)}:"
            before = ","
            writer = _writers[type(item)]
            if writer == "object":
                out(f"{head}{{")
                around.append((items, end))
                items, end, before = iter(item.items()), "}", ""
                break
            if writer == "array":
                out(f"{head}[")
                around.append((items, end))
                items, end, before = zip(repeat(None), item), "]", ""
                break
            out(f"{head}{writer(item)}")
        else:
            out(end)
            if not around:
                break
            items, end = around.pop()
            before = ","
    return "".join(parts)


def _without_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def encode_instance(instance: Any) -> str:
    """An instance of a schema class as compact JSON text.

    Raises:
        TypeError: there are bytes or a file in it.
    """
    if _msgspec is not None:
        # What it does not take, such as lone surrogates, or bytes, is looked at again.
        with suppress(TypeError, ValueError, RecursionError):
            text: str = _pack(instance).decode()
            return text
    return encode(instance)


if _msgspec is not None:

    def _plain(value: Any) -> Any:
        """What msgspec writes in place of a value of a class that it does not know."""
        writer = _writers[type(value)]
        if writer == "object":
            return dict(value)
        if writer == "array":
            return list(value)
        return _msgspec.Raw(writer(value).encode())

    _pack = _msgspec.json.Encoder(enc_hook=_plain).encode
