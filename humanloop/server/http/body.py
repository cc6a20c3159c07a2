"""The body of a request: received, decoded, and checked against its operation's schema.

Invariants: what passes can be kept and read again by any client; no body is logged.
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
"""Bytes of a body whose memory is not counted: that of most."""

_DRAIN_SECONDS = 2
_PROVIDER_KEYS = "provider_api_keys"
_NUL_ESCAPE = b"\\u0000"  # JSON has no other way to write it
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD]")
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_STARTS = (b"[", b"{", b",")  # of values, apart from the first in each array and object
_SLICE = 1024 * 1024  # of a text that is looked through, so that no large copies are made
_BYTES_FOR_A_BYTE = 5  # text is decoded, cast, encoded, and kept, each time anew
_BYTES_FOR_A_VALUE = 250  # a number is 8 bytes of a list and 104 of a Decimal, twice
_ANSWERS = 16  # of chats and completions that are made at the same time
# Without a backslash before it, the first one is not escaped itself.
_SURROGATE_PAIR = re.compile(rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_DIGITS = b"0123456789"


class Upload:
    """The body that is being sent, read at most once; `more` tells whether any of it is left.

    length: what Content-Length says, if it is there.
    take: waits until there is memory for so many bytes; asked once, for a large body.
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

        Raises TooLarge when it has over `limit` bytes, RequestTimeout when the next part takes
        longer than `part_seconds` or all of it longer than `seconds`, Busy when there is no memory
        for it, and ClientDisconnect when the caller hangs up.
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
        """Read on without keeping it, so that a caller in mid-sending gets to read the answer."""
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
    """Raise UnsupportedMediaType unless a body is JSON in UTF-8 as it is."""
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
    """Return about how many bytes of memory it takes to work on a body.

    Raises TooLarge when it holds over `most` values.
    """
    values = _count_starts(body)
    if values > most:  # some may be in strings
        values = _count_values(body, most)
    if values > most:
        raise TooLarge(f"The body holds over {most:,} values; send it in parts.")
    return len(body) * _BYTES_FOR_A_BYTE + values * _BYTES_FOR_A_VALUE


def check_samples(count: int, body: bytes, memory: int) -> None:
    """Raise Invalid when the answer, which repeats much of a body for each sample, is too large."""
    most = max(memory // _ANSWERS // (weigh(body, len(body)) + 1), 1)
    if count > most:
        message = f"at most {most} samples can be had at once of so large a body"
        raise invalid(("body", "num_samples"), message, "maximum")


def _count_starts(text: bytes) -> int:
    return sum(map(text.count, _STARTS))


def _count_values(body: bytes, most: int) -> int:
    """Return how many values start outside of strings, or a number over `most`."""
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quote is one now
    if text.count(b'"') // 4 > most:  # each string is a value or the key of one
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

    nullable: keys of it that may be null, whatever the schema says.

    Provider keys are left out wherever the operation has no use for them, since clients of the 0.5
    line send them everywhere, and what is kept may be any part of a body.
    """
    if operation.body_schema is None:
        return None
    if not body:
        raise invalid(("body",), "a JSON body is needed, none came", "required")
    value = decode(body, spared=operation.provider_keys)
    nulls = _take_nulls(value, nullable)
    check(value, operation.body_schema, "request")
    return {**value, **nulls} if nulls else value


def decode(body: bytes, *, spared: bool = False) -> Any:
    """Return the value of a JSON text that can be kept, without provider keys; raises Invalid.

    spared: whether its own provider keys stay, which are then those of the request.
    """
    value = _decode(body)
    if _PROVIDER_KEYS.encode() in body or b"\\u" in body:  # its letters may be escaped
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
    """Take those keys out of an object whose value is null, and return them."""
    if not isinstance(value, dict):
        return {}
    return {name: value.pop(name) for name in names if name in value and value[name] is None}


def _drop_provider_keys(value: Json, *, spared: bool) -> None:
    """Take the provider keys out of every object in the value; spared: not out of itself."""
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
    """Tell whether there may be half of a surrogate pair, which only an escape can write."""
    if _SURROGATE_ESCAPE.search(body) is None:
        return False
    return _SURROGATE_ESCAPE.search(_SURROGATE_PAIR.sub(b"", body)) is not None


def _has_many_digits(body: bytes) -> bool:
    """Tell whether there is a run of over MAX_DIGITS digits.

    Such a run covers one of the bytes that are so far apart: to look at these takes next to no
    time, while a search for the run takes longer than to decode the body.
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
        # UTF-8 is what the bytes were, so halves of pairs can only have come from escapes.
        json.dumps(value, ensure_ascii=False, default=_check_number).encode()
    except UnicodeEncodeError:
        raise invalid(("body",), "the body holds half of a surrogate pair", "json") from None


def _check_number(number: Decimal) -> None:
    # Only an integer that int() refuses to parse is read as a Decimal without an exponent.
    if not number.as_tuple().exponent:
        raise invalid(("body",), f"the body holds an integer of over {MAX_DIGITS:,} digits", "json")
