"""JSON text to values and back, with every digit kept in both directions.

Numbers with a fraction or an exponent are read as `Decimal`, and so is an integer too long for
`int` to parse; they are written unchanged. Strings keep their characters (lone surrogates, which
UTF-8 can't hold, are escaped). If msgspec is installed (the extra `fast`), it does the work; input
that it refuses goes to the standard library, so that values and errors are the same. Validation
enforces `MAX_DEPTH`; the readers themselves may accept more.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from importlib import import_module
from threading import get_ident, main_thread
from typing import Any

from frozendict import frozendict

from humanloop.schemas.casting import MAX_DEPTH, TOO_DEEP, Path, before_repetition
from humanloop.schemas.native import FastPathMiss, compiled, converters

try:
    _msgspec: Any = import_module("msgspec")
except ImportError:
    _msgspec = None

__all__ = ["JsonTooDeep", "decode", "decoder", "encode", "encode_instance", "refuse_constant"]

NUMBERS = 4096
"""The most cached numbers; a full cache is emptied, and then filled anew."""

USUAL_RECURSION_LIMIT = 3_000
"""Up to this limit, Python raises before the main thread's stack overflows."""

DIGITS = 8
"""Numbers of up to this many characters are cached."""

_OBJECT: Any = frozendict


# -- reading --------------------------------------------------------------------------------------


def refuse_constant(name: str) -> Any:
    """Reject NaN and the infinities, which `json` accepts and JSON forbids."""
    raise ValueError(f"{name} is not a JSON number")


class JsonTooDeep(ValueError):
    """JSON text is nested too deeply; path: the place where that nesting begins."""

    def __init__(self, path: Path) -> None:
        super().__init__(TOO_DEEP)
        self.path = path


_MAIN_THREAD = main_thread().ident
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)


def _stack_may_be_small() -> bool:
    """Return whether the decoders, which recurse in C, might crash before they raise."""
    return get_ident() != _MAIN_THREAD or sys.getrecursionlimit() > USUAL_RECURSION_LIMIT


def _may_be_deep(data: str | bytes | bytearray) -> bool:
    """Return, by a quick check, whether JSON text may be nested more deeply than `MAX_DEPTH`."""
    if isinstance(data, str):
        octets = data.encode("utf-8", "surrogatepass")
    elif json.detect_encoding(data) == "utf-8":
        octets = bytes(data)
    else:
        return True
    if octets.count(b"[") + octets.count(b"{") <= MAX_DEPTH:
        return False
    # Once no quote is escaped, every second part between quotes is a string's content. Adjacent
    # quotes don't change this, and without them few parts are left.
    kept = octets.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_AS_ARRAYS, _OTHERS)
    parts = kept.replace(b'""', b"").split(b'"')
    brackets = b"".join(parts[::2])
    for _ in range(MAX_DEPTH):
        # Removes the innermost level: bytes.replace is much faster than a walk over the text.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def _check_depth(data: str | bytes | bytearray) -> None:
    """Raise JsonTooDeep if the text is nested too deeply; brackets within strings don't count."""
    text = data if isinstance(data, str) else data.decode(json.detect_encoding(data), "replace")
    path: list[Any] = []  # per open container: the index, or the last string in it, a key
    for token in _TOKEN.findall(text):
        if token in "[{":
            if len(path) == MAX_DEPTH:
                raise JsonTooDeep(before_repetition(path))
            path.append(0 if token == "[" else "")
        elif token in "]}":
            if path:
                path.pop()
        elif token == ",":
            if path and isinstance(path[-1], int):
                path[-1] += 1
        elif path and isinstance(path[-1], str):
            path[-1] = token[1:-1]


class _Numbers(dict[str, Any]):
    """The numbers of texts with a fraction or an exponent; short ones are cached."""

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
        if number is None or not number.is_finite():  # by the caller's context
            raise ValueError(f"the exponent of {text:.40} is out of range")
        # "1e0" has an exponent part, so it is no integer (OpenAPI 3.0); Decimal would lose this.
        sign, digits, exponent = number.as_tuple()
        return number if exponent else self.new((sign, (*digits, 0), -1))


def decoder(
    new: Callable[[Any], Any], *, fast: bool = _msgspec is not None
) -> Callable[[str | bytes | bytearray], Any]:
    """Return the function that reads JSON text, into dict, list, str, int, bool and None.

    new: makes a number with a fraction or an exponent from its text, or from a tuple of sign,
        digits and exponent, as `Decimal` does. fast: use msgspec, if it is installed.
    """

    def integer(text: str) -> Any:
        return new("0" if text == "-0" else text)

    number = _Numbers(new).__getitem__
    read = json.JSONDecoder(parse_float=number, parse_constant=refuse_constant).decode
    read_fast = _msgspec.json.Decoder(float_hook=number).decode if _msgspec and fast else None

    def decode(data: str | bytes | bytearray) -> Any:
        """Return the value of JSON text.

        Raises:
            ValueError: it is not JSON, is nested too deeply (`JsonTooDeep`), or is not in UTF-8,
                UTF-16 or UTF-32.
            TypeError: it is not text.
        """
        if not isinstance(data, (str, bytes, bytearray)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"expected JSON text in str or bytes, got {type(data).__name__}")
        if _stack_may_be_small() and _may_be_deep(data):
            _check_depth(data)
        if read_fast is not None:
            # The standard library reports the error, or accepts the text.
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
            _check_depth(text)
            raise JsonTooDeep(()) from None  # the text is not deep: the stack is nearly used up
        except ValueError as error:
            # int() refuses numbers of more than 4,300 digits; Decimal reads them exactly.
            if not str(error).startswith("Exceeds the limit"):
                _check_depth(text)  # for deep text that is cut off, the depth is the first error
                raise
        return json.loads(
            text, parse_float=number, parse_int=integer, parse_constant=refuse_constant
        )

    return decode


decode = decoder(Decimal)


# -- writing --------------------------------------------------------------------------------------


def encode(value: Any) -> str:
    """Return a cast value, or an instance, as compact JSON text.

    Raises:
        TypeError: there are bytes or a file in it.
        RecursionError: it is nested too deeply.
    """
    try:
        text = converters.json_text(value)
    except FastPathMiss:
        raise RecursionError(TOO_DEEP) from None
    return text if text.isascii() else _without_surrogates(text)


def _without_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def encode_instance(instance: Any) -> str:
    """Return an instance of a schema class as compact JSON text.

    Raises:
        TypeError: there are bytes or a file in it.
    """
    if _pack is not None:
        # Values that it refuses, such as lone surrogates, or bytes, go to our own writer.
        with suppress(TypeError, ValueError, RecursionError):
            text: str = _pack(instance).decode()
            return text
    return encode(instance)


def _plain(value: Any) -> Any:
    """Return a replacement that msgspec can write for an instance of a class unknown to it."""
    if isinstance(value, _OBJECT):
        return dict(value)
    if issubclass(type(value), tuple):
        return list(value)
    return _msgspec.Raw(converters.json_text(value).encode())


# Our own writer, if compiled, is as fast, and caches what msgspec would ask for each time.
_pack = None if _msgspec is None or compiled else _msgspec.json.Encoder(enc_hook=_plain).encode
