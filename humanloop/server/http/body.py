"""The body of a request: received, decoded, and checked against its operation's schema.

Invariants: what passes can be kept and read again by any client; no body is logged.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from humanloop import schemas
from humanloop.operation import Operation
from humanloop.schemas import SchemaValidationError
from humanloop.server.errors import Invalid, RequestTimeout, TooLarge, invalid
from humanloop.server.operations.calls import MAX_DIGITS

_DRAIN_SECONDS = 1
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD]")
# Without a backslash before it, the first one is not escaped itself.
_SURROGATE_PAIR = re.compile(rb"(?<!\\)\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_DIGITS = b"0123456789"


class Upload:
    """The body that is being sent, read at most once; `more` tells whether any of it is left."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.more = True

    async def read(self, limit: int, seconds: float) -> bytes:
        """Return the whole body.

        Raises TooLarge when it has over `limit` bytes, RequestTimeout when the next part takes
        longer than `seconds`, and ClientDisconnect when the caller hangs up.
        """
        body = bytearray()
        async for chunk in self._chunks(seconds):
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"The body is over {limit:,} bytes.")
        return bytes(body)

    async def drain(self, limit: int) -> None:
        """Read on without keeping it, so that a caller in mid-sending gets to read the answer."""
        try:
            async for chunk in self._chunks(_DRAIN_SECONDS):
                limit -= len(chunk)
                if limit < 0:
                    return
        except RequestTimeout:
            return

    async def _chunks(self, seconds: float) -> AsyncIterator[bytes]:
        while self.more:
            try:
                message = await asyncio.wait_for(self._receive(), seconds)
            except asyncio.TimeoutError:
                raise RequestTimeout(f"No more of the body came for {seconds:g} seconds.") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.more = message.get("more_body", False)
            yield message.get("body", b"")


def parse(operation: Operation, body: bytes) -> Any:
    """Return the body as plain data that fits the operation's schema; raises Invalid.

    Provider keys are left out where the operation has no use for them.
    """
    if operation.body_schema is None:
        return None
    if not body:
        raise invalid(("body",), "a JSON body is needed, none came", "required")
    value = _decode(body)
    if isinstance(value, dict) and not operation.provider_keys:
        # Clients of the 0.5 line send it everywhere.
        cast(dict[str, Any], value).pop("provider_api_keys", None)
    try:
        operation.body_schema.validate(value, "request")
    except SchemaValidationError as error:
        raise Invalid.from_details(error.errors, lambda path: ("body", *path)) from error
    return cast(Any, value)


def _decode(body: bytes) -> Any:
    try:
        value = schemas.loads(body.decode("utf-8-sig"))  # RFC 8259, section 8.1
    except ValueError as error:
        raise invalid(("body",), f"the body is not JSON: {error}", "json") from error
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
