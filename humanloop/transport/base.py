"""The interfaces of the I/O: a request goes in, a whole response or the head of a stream comes out.

Invariants: a transport knows nothing of operations and schemas. It sends a request once, follows no
redirect, raises an `ApiConnectionError` when no whole answer came, and returns every answer that
came, whatever its status.
"""

from __future__ import annotations

from typing import Protocol

from humanloop.http import Headers, RawResponse, Request

__all__ = ["AsyncRawStream", "AsyncTransport", "RawStream", "Transport"]


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
        """Return the next bytes of the body as they come, decompressed; empty at its end.

        timeout: seconds to wait for them; None: no limit. Raise an `ApiConnectionError` when they
        don't come in time, or the body breaks off.
        """
        ...

    def close(self) -> None:
        """Give up what is left of the body, and its connection. May be called again."""
        ...


class AsyncRawStream(_Head, Protocol):
    """Read a response whose body is still coming, as `RawStream`, in an event loop."""

    async def read(self, timeout: float | None) -> bytes:
        """Return the next bytes, as `RawStream.read`."""
        ...

    def close(self) -> None:
        """Give up the rest, as `RawStream.close`; in the loop that the stream was opened in."""
        ...


class Transport(Protocol):
    """Send requests. An instance is shared between threads."""

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
    """Send requests, as `Transport`. An instance is shared between loops, and their threads."""

    async def send(self, request: Request) -> RawResponse | AsyncRawStream:
        """Send `request` once, as `Transport.send`."""
        ...

    async def aclose(self) -> None:
        """Release what is held open, in every loop. May be called again."""
        ...

    def close(self) -> None:
        """Release it from outside of a loop: a running loop releases what it holds soon."""
        ...
