"""The body of a request: received, decoded, and checked against its operation's schema.

Invariants: a body that passes can be kept, and any client can read it again; no body is logged.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from email.message import Message
from typing import Any, Literal

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from humanloop import schemas
from humanloop.operation import Operation
from humanloop.schemas import SchemaValidationError
from humanloop.server.errors import (
    Invalid,
    RequestTimeout,
    TooLarge,
    UnsupportedMediaType,
    invalid,
)
from humanloop.server.http.places import check_nul
from humanloop.server.operations.calls import MAX_DIGITS
from humanloop.server.store.json_text import Json

SMALL = 64 * 1024
"""The bytes of a body whose memory is not counted; most bodies are smaller."""

_DRAIN_SECONDS = 2
_PROVIDER_KEYS = "provider_api_keys"
_NUL_ESCAPE = b"\\u0000"  # the only way to write it in JSON
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD]")
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_STARTS = (b"[", b"{", b",")  # what precedes a value, except the first one in each array and object
_SLICE = 1024 * 1024  # bytes of a text scanned at a time, to avoid large copies
_BYTES_FOR_A_BYTE = 5  # the text is decoded, cast, encoded, and kept, each in a copy
_BYTES_FOR_A_VALUE = 250  # twice, a number takes 8 bytes in a list and 104 as a Decimal
_ANSWERS = 16  # concurrently made answers of chats and completions
# Without a backslash before it, the first escape is not itself escaped.
_SURROGATE_PAIR = re.compile(rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_DIGITS = b"0123456789"


class Upload:
    """The body that is being sent, read at most once; `more` is true while a part of it is left.

    length: the Content-Length, if there is one.
    take: waits until that many bytes of memory are free; called once, for a large body.
    """

    def __init__(
        self, receive: Receive, length: str | None, take: Callable[[int], Awaitable[None]]
    ) -> None:
        self._receive = receive
        self._length = int(length) if length is not None and length.isdecimal() else None
        self._take = take
        self.more = True

    async def read(self, limit: int, part_seconds: float, seconds: float) -> bytes:
        """Return the whole body.

        Raises TooLarge if it has over `limit` bytes, RequestTimeout if the next part takes longer
        than `part_seconds` or all of it longer than `seconds`, Busy if there is no memory for it,
        and ClientDisconnect if the caller hangs up.
        """
        expected = limit if self._length is None else self._length
        body, taken = bytearray(), False
        async for chunk in self._chunks(part_seconds, seconds):
            body += chunk
            if max(len(body), self._length or 0) > limit:
                raise TooLarge(f"The body is over {limit:,} bytes.")
            if len(body) > SMALL and not taken:
                await self._take(expected)
                taken = True
        return bytes(body)

    async def drain(self, limit: int) -> None:
        """Read and discard the rest, so that a caller that is still sending can read the answer."""
        try:
            async for chunk in self._chunks(_DRAIN_SECONDS, _DRAIN_SECONDS):
                limit -= len(chunk)
                if limit < 0:
                    return
        except RequestTimeout:
            return

    async def _chunks(self, part_seconds: float, seconds: float) -> AsyncIterator[bytes]:
        end = time.monotonic() + seconds
        while self.more:
            left = end - time.monotonic()
            try:
                message = await asyncio.wait_for(self._receive(), min(part_seconds, left))
            except asyncio.TimeoutError:
                if left < part_seconds:
                    raise RequestTimeout(f"The body took over {seconds:g} seconds.") from None
                text = f"No more of the body came for {part_seconds:g} seconds."
                raise RequestTimeout(text) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.more = message.get("more_body", False)
            yield message.get("body", b"")


def check_encoding(headers: Headers) -> None:
    """Raise UnsupportedMediaType unless a body is uncompressed JSON in UTF-8."""
    message = Message()
    message["Content-Type"] = headers.get("content-type", "")
    if message.get_content_type() != "application/json":
        raise UnsupportedMediaType("The body must be of the type application/json.")
    charset = message.get_param("charset", "utf-8")
    if str(charset).lower() not in _CHARSETS:
        raise UnsupportedMediaType(f"The body must be in UTF-8, not in {charset!r}.")
    coding = headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise UnsupportedMediaType(f"The body must be sent as it is, not encoded as {coding!r}.")


def weigh(body: bytes, most: int) -> int:
    """Return the approximate bytes of memory that it takes to process a body.

    Raises TooLarge if the body holds over `most` values.
    """
    values = _count_starts(body)
    if values > most:  # some may be inside strings
        values = _count_values(body, most)
    if values > most:
        raise TooLarge(f"The body holds over {most:,} values; send it in parts.")
    return len(body) * _BYTES_FOR_A_BYTE + values * _BYTES_FOR_A_VALUE


def check_samples(count: int, body: bytes, memory: int) -> None:
    """Raise Invalid if the answer, which repeats much of a body for each sample, is too large."""
    most = max(memory // _ANSWERS // (weigh(body, len(body)) + 1), 1)
    if count > most:
        message = f"a body of this size allows at most {most} samples"
        raise invalid(("body", "num_samples"), message, "maximum")


def _count_starts(text: bytes) -> int:
    return sum(map(text.count, _STARTS))


def _count_values(body: bytes, most: int) -> int:
    """Return the number of values that start outside of strings, or a number over `most`."""
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # now every quote delimits a string
    if text.count(b'"') // 4 > most:  # each string is a value or a value's key
        return most + 1
    values = inside = 0
    for start in range(0, len(text), _SLICE):
        if values > most:
            break
        parts = text[start : start + _SLICE].split(b'"')
        values += _count_starts(b"".join(parts[inside::2]))
        inside ^= (len(parts) - 1) & 1
    return values


def parse(operation: Operation, body: bytes, nullable: frozenset[str] = frozenset()) -> Any:
    """Return the body as plain data that fits the operation's schema; raises Invalid.

    nullable: the keys of the body that may be null, whatever the schema says.

    Removes provider keys wherever the operation does not use them, since clients of the 0.5 line
    send them everywhere, and any part of a body may be kept.
    """
    if operation.body_schema is None:
        return None
    if not body:
        raise invalid(("body",), "expected a JSON body, got none", "required")
    value = decode(body, spared=operation.provider_keys)
    nulls = _take_nulls(value, nullable)
    check(value, operation.body_schema, "request")
    return {**value, **nulls} if nulls else value


def decode(body: bytes, *, spared: bool = False) -> Any:
    """Return the value of a JSON text in a form that can be kept; raises Invalid.

    spared: keep the provider keys of the outermost object, which are the request's own. Provider
        keys anywhere else are removed.
    """
    value = _decode(body)
    if _PROVIDER_KEYS.encode() in body or b"\\u" in body:  # the key may be written with escapes
        _drop_provider_keys(value, spared=spared)
    return value


def check(
    value: Any, schema: type[schemas.Schema], direction: Literal["request", "response"]
) -> Any:
    """Return a value that fits the schema; raises Invalid."""
    try:
        schema.validate(value, direction)
    except SchemaValidationError as error:
        raise Invalid.from_details(error.errors, lambda path: ("body", *path)) from error
    return value


def _take_nulls(value: Json, names: frozenset[str]) -> dict[str, None]:
    """Remove the named keys with null values from an object, and return them."""
    if not isinstance(value, dict):
        return {}
    return {name: value.pop(name) for name in names if name in value and value[name] is None}


def _drop_provider_keys(value: Json, *, spared: bool) -> None:
    """Remove the provider keys from every object in the value; spared: except the outermost."""
    if isinstance(value, dict):
        if not spared:
            value.pop(_PROVIDER_KEYS, None)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _drop_provider_keys(item, spared=False)


def _decode(body: bytes) -> Any:
    try:
        value = schemas.loads(body.decode("utf-8-sig"))  # RFC 8259, section 8.1
    except ValueError as error:
        raise invalid(("body",), f"the body is not JSON: {error}", "json") from error
    if _NUL_ESCAPE in body:
        check_nul({"body": value})
    if _has_odd_surrogates(body) or _has_many_digits(body):
        _check_readable(value)
    return value


def _has_odd_surrogates(body: bytes) -> bool:
    """Return whether there may be half a surrogate pair, which only an escape can write."""
    if _SURROGATE_ESCAPE.search(body) is None:
        return False
    return _SURROGATE_ESCAPE.search(_SURROGATE_PAIR.sub(b"", body)) is not None


def _has_many_digits(body: bytes) -> bool:
    """Return whether there is a run of over MAX_DIGITS digits.

    Such a run covers one of the bytes checked here, MAX_DIGITS apart. Checking these takes next to
    no time, while searching for the run takes longer than decoding the body.
    """
    for at in range(MAX_DIGITS, len(body), MAX_DIGITS + 1):
        if body[at] in _DIGITS:
            before, after = body[max(at - MAX_DIGITS, 0) : at], body[at : at + MAX_DIGITS + 1]
            rest = len(before.rstrip(_DIGITS)) + len(after.lstrip(_DIGITS))
            run = len(before) + len(after) - rest
            if run > MAX_DIGITS:
                return True
    return False


def _check_readable(value: Any) -> None:
    """Raise Invalid for halves of surrogate pairs and for integers that `json` refuses to read."""
    try:
        # The bytes were UTF-8, so half a pair can only come from an escape.
        json.dumps(value, ensure_ascii=False, default=_check_number).encode()
    except UnicodeEncodeError:
        raise invalid(("body",), "the body holds half of a surrogate pair", "json") from None


def _check_number(number: Decimal) -> None:
    # Only an integer that int() refuses to parse is read as a Decimal with exponent 0.
    if not number.as_tuple().exponent:
        raise invalid(("body",), f"the body holds an integer of over {MAX_DIGITS:,} digits", "json")
