"""The I/O: a request goes in, the whole response, or the head of a stream, comes out.

`Transport` and `AsyncTransport` are the interfaces; `Urllib3Transport` and `AiohttpTransport` are
what a client uses by default. What stays true: nothing outside this package knows which HTTP
library is in use, the library is loaded with the first request and no sooner, and a transport knows
nothing of operations and schemas. A transport sends a request once, follows no redirect, raises an
`ApiConnectionError` from `humanloop.exceptions` when no whole answer came, and returns every answer
that did, whatever its status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from humanloop.api_response import Headers, media_type

if TYPE_CHECKING:
    from humanloop.transport.aiohttp_transport import AiohttpTransport
    from humanloop.transport.urllib3_transport import Urllib3Transport

__all__ = [
    "AiohttpTransport",
    "AsyncRawStream",
    "AsyncTransport",
    "RawResponse",
    "RawStream",
    "Request",
    "Transport",
    "Urllib3Transport",
    "is_event_stream",
]


@dataclass(frozen=True)
class Request:
    """One HTTP request, complete.

    host: the base URL, such as `https://api.humanloop.com/v4`; path: what follows it, encoded;
    query: encoded, without `?`; body: bytes as they go out.
    timeout: seconds for the whole exchange; connect_timeout: for making a connection, within
    `timeout`; read_timeout: for each wait for more bytes of the answer. None: no limit.
    stream: whether an answer of events is wanted as a `RawStream`.
    The repr shows neither keys nor what the body says.
    """

    method: str
    host: str
    path: str
    query: str
    headers: Headers
    body: bytes | None = None
    timeout: float | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    stream: bool = False

    @property
    def url(self) -> str:
        """All of the address."""
        return f"{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

    def as_curl(self) -> str:
        """The request as a command for curl, with `***` in place of every key."""
        from humanloop.redaction import as_curl

        return as_curl(self)

    def __repr__(self) -> str:
        size = "None" if self.body is None else f"<{len(self.body)} bytes>"
        return f"Request({self.method} {self.url}, headers={self.headers!r}, body={size})"


@dataclass(frozen=True)
class RawResponse:
    """One HTTP response, read to its end; elapsed: seconds, from sending to the last byte."""

    status: int
    reason: str
    headers: Headers
    data: bytes
    elapsed: float = 0.0

    @property
    def text(self) -> str:
        """`data` as UTF-8; what is not is replaced by U+FFFD."""
        return self.data.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"RawResponse({self.status} {self.reason}, <{len(self.data)} bytes>)"


class _Head(Protocol):
    """The head of a response; elapsed: seconds, from sending to the end of the head."""

    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def elapsed(self) -> float: ...


class RawStream(_Head, Protocol):
    """A response whose body is still coming. To be closed, unless it was read to its end."""

    def read(self, timeout: float | None) -> bytes:
        """The next bytes of the body as they come, decompressed; empty at its end.

        timeout: seconds to wait for them; None: no limit. Raises an `ApiConnectionError` when they
        don't come in time, or the body breaks off.
        """
        ...

    def close(self) -> None:
        """Give up what is left of the body, and its connection. May be called again."""
        ...


class AsyncRawStream(_Head, Protocol):
    """As `RawStream`, for an event loop."""

    async def read(self, timeout: float | None) -> bytes:
        """As `RawStream.read`."""
        ...

    def close(self) -> None:
        """As `RawStream.close`; in the loop that the stream was opened in."""
        ...


class Transport(Protocol):
    """Whatever can send a request. An instance is shared between threads."""

    def send(self, request: Request) -> RawResponse | RawStream:
        """Send `request` once, and return the whole answer, or raise an `ApiConnectionError`.

        A `RawStream` is returned when `request.stream` is set and the answer is a success by its
        status, and of the type text/event-stream; any other answer is read to its end.
        """
        ...

    def close(self) -> None:
        """Release what is held open. May be called again; a later `send` opens anew."""
        ...


class AsyncTransport(Protocol):
    """As `Transport`, for event loops. An instance is shared between loops, and their threads."""

    async def send(self, request: Request) -> RawResponse | AsyncRawStream:
        """As `Transport.send`."""
        ...

    async def aclose(self) -> None:
        """Release what is held open, in every loop. May be called again."""
        ...

    def close(self) -> None:
        """As `aclose`, from outside of a loop: what a running loop holds is released by it soon."""
        ...


def is_event_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is a stream of events (WHATWG HTML, section 9.2)."""
    return 200 <= status <= 299 and media_type(headers) == "text/event-stream"


if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name == "Urllib3Transport":
            from humanloop.transport.urllib3_transport import Urllib3Transport

            return Urllib3Transport
        if name == "AiohttpTransport":
            from humanloop.transport.aiohttp_transport import AiohttpTransport

            return AiohttpTransport
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
