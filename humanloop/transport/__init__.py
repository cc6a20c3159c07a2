"""The I/O: a request goes in, the whole response comes out.

`Transport` is the interface; `Urllib3Transport` is what a client uses by default. What stays true:
nothing outside this package knows which HTTP library is in use, the library is loaded with the
first request and no sooner, and a transport knows nothing of operations and schemas. A transport
raises an error from `humanloop.exceptions` when no whole answer came, and returns every answer
that did, whatever its status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from humanloop.api_response import Headers

if TYPE_CHECKING:
    from humanloop.transport.urllib3_transport import Urllib3Transport

__all__ = ["RawResponse", "Request", "Transport", "Urllib3Transport"]


@dataclass(frozen=True)
class Request:
    """One HTTP request, complete.

    host: the base URL, such as `https://api.humanloop.com/v4`; path: what follows it, encoded;
    query: encoded, without `?`; body: bytes as they go out; timeout: seconds for the whole
    exchange, None for no limit. The repr shows neither keys nor what the body says.
    """

    method: str
    host: str
    path: str
    query: str
    headers: Headers
    body: bytes | None = None
    timeout: float | None = None

    @property
    def url(self) -> str:
        """All of the address."""
        return f"{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

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


class Transport(Protocol):
    """Whatever can send a request. An instance is shared between threads."""

    def send(self, request: Request) -> RawResponse:
        """Send `request` and return the whole answer, or raise an `ApiConnectionError`."""
        ...

    def close(self) -> None:
        """Release what is held open. May be called again; a later `send` opens anew."""
        ...


if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name != "Urllib3Transport":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from humanloop.transport.urllib3_transport import Urllib3Transport

        return Urllib3Transport
