"""Streams of events: `Stream` for a `for` loop, `AsyncStream` for an `async for` loop.

`EventReader` does the work for both and no I/O: bytes go in, typed events come out.

Invariants: every event was validated before anybody sees it; an error comes after all the events
before it and holds them; and whatever ends a stream (its end, an error, leaving it) gives its
connection up.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from humanloop.async_steps import AsyncSteps
from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiStreamBrokenError,
    ApiStreamTimeoutError,
    ApiTimeoutError,
)
from humanloop.frames import empty_frames
from humanloop.http import Headers, RawResponse
from humanloop.secrets import redact_error
from humanloop.server_sent_events import EventParser, ServerSentEvent

if TYPE_CHECKING:
    from typing_extensions import Self

    from humanloop.transport.base import AsyncRawStream, RawStream

__all__ = ["AsyncStream", "EventReader", "Stream", "StreamContext", "outputs"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_END = "[DONE]"  # how model providers end their streams; not part of this API, and harmless
_LINGER = 0.05
"""Seconds to wait for the end of the body after that: with it, the connection can be kept."""


@dataclass(frozen=True)
class StreamContext(Generic[T_co]):
    """The call of a stream, as far as its reader needs it.

    decode: returns the typed event, or raises the ApiException for it; left_out: reports one of an
    unknown type; error: makes an error, from its class, body and detail; end: when the whole call
    must be over, by `time.monotonic()`; None: every line that comes allows for `timeout` seconds
    more; read_timeout: seconds to wait for bytes; redact: takes what is secret out of a text.
    """

    decode: Callable[[ServerSentEvent], T_co]
    left_out: Callable[[ServerSentEvent], None]
    error: Callable[[type[ApiException], Any, str], ApiException]
    end: float | None
    timeout: float | None
    read_timeout: float | None
    max_event_bytes: int | None
    redact: Callable[[str], str]


class EventReader(Generic[T]):
    """Turns bytes into typed events. ready: the events of an answer that was no stream."""

    def __init__(self, context: StreamContext[T], ready: tuple[T, ...] = ()) -> None:
        self._context = context
        self._parser = EventParser(max_event_bytes=context.max_event_bytes)
        self._waiting: deque[ServerSentEvent] = deque()
        self._ready = deque(ready)
        self._seen: list[T] = []
        self._parser_error: ValueError | None = None  # to be raised after all events before it
        self._alive = monotonic()
        self._linger_end = 0.0
        self.complete = bool(ready)  # the last event has come for certain
        self.ended = bool(ready)

    def resume(self) -> None:
        """Start the clock for the next event."""
        self._alive = monotonic()

    def patience(self) -> float | None:
        """Return the seconds to wait for more bytes; None: no limit.

        Raises ApiStreamTimeoutError when there are none left.
        """
        if self.complete:
            return max(self._linger_end - monotonic(), 0.001)
        context = self._context
        limits = [] if context.read_timeout is None else [context.read_timeout]
        end = context.end
        if end is None and context.timeout is not None:
            end = self._alive + context.timeout
        if end is not None:
            limits.append(end - monotonic())
        if limits and min(limits) <= 0:
            raise self._failed(ApiStreamTimeoutError, "the timeout of the stream has passed")
        return min(limits, default=None)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none at all mean that the body has ended."""
        if self.complete:  # nothing of what follows matters, but whether it ends at once
            self.ended = not data or monotonic() >= self._linger_end
            return
        lines = self._parser.lines
        start = 0
        try:
            # Event by event, so that one which is refused takes none of the others with it.
            for end in _EVENT_END.finditer(data):
                self._waiting.extend(self._parser.feed(data[start : end.end()]))
                start = end.end()
            self._waiting.extend(self._parser.feed(data[start:]))
        except ValueError as error:
            self._parser_error = error.with_traceback(None)  # of frames that hold this reader
        if self._parser.lines > lines:
            self._alive = monotonic()
        self.ended = self.ended or not data

    def next(self) -> T | None:
        """Return the next received event; None: none has come yet, or the stream has ended.

        Raises an ApiStreamingException for an event of no use, and for an end that came too soon.
        """
        while self._waiting and not self._ready:
            event = self._waiting.popleft()
            if event.data == _END:
                self.complete = True
                self._linger_end = monotonic() + _LINGER
                self._waiting.clear()
            elif event.event in ("message", "error"):
                try:
                    self._ready.append(self._context.decode(event))
                except ApiException as error:
                    self._end_with(error)
                    raise
            else:
                self._context.left_out(event)
        if self._ready:
            self._seen.append(self._ready.popleft())
            return self._seen[-1]
        if self._parser_error is not None and not self.complete:
            raise self._failed(ApiStreamBrokenError, str(self._parser_error)) from (
                self._parser_error
            )
        if self.ended and self._parser.pending and self._parser.unfinished == _END:
            self.complete = True
        if self.ended and not self.complete and self._parser.pending:
            raise self._failed(ApiStreamBrokenError, "the stream ended in the middle of an event")
        return None

    def broken(self, error: ApiConnectionError) -> ApiException:
        """Return the error for one of the transport."""
        redact_error(error, self._context.redact)
        kind = ApiStreamTimeoutError if isinstance(error, ApiTimeoutError) else ApiStreamBrokenError
        return self._failed(kind, f"the stream broke off: {error.reason}")

    def closed(self, why: str = "") -> ApiException:
        """Return the error for whoever waits for a stream that has been closed; why: the reason."""
        return self._failed(ApiStreamBrokenError, f"the stream was closed{why}")

    def _failed(self, kind: type[ApiException], detail: str) -> ApiException:
        error = self._context.error(kind, None, detail)
        self._end_with(error)
        return error

    def _end_with(self, error: ApiException) -> None:
        self._waiting.clear()
        self.ended = True
        error.__dict__["events"] = tuple(self._seen)


class _StreamBase(Generic[T]):
    """All of a stream but how it waits. `_end`: the exception that ends its kind of loop."""

    _end: type[Exception]

    def __init__(
        self, response: RawStream | AsyncRawStream | RawResponse, reader: EventReader[T]
    ) -> None:
        self.headers: Headers = response.headers
        self.status: int = response.status
        self.response = response
        self.round_trip_time: float = response.elapsed
        self._reader = reader
        self._closed = False
        self._cancelled = False
        self._busy = False

    def _begin(self) -> None:
        """Begin to wait for the next event, alone."""
        if self._busy:
            raise RuntimeError("somebody else is waiting for the next event of this stream")
        self._busy = True
        self._reader.resume()

    def _fail(self, error: BaseException) -> bool:
        """Close, after an error of a wait; return whether to raise that, or raise a clearer one.

        It is not to be raised when all events have come, and only the body does not end in time.
        """
        closed = self._closed
        if not isinstance(error, Exception):
            self._cancelled = True
        self._close()
        if not isinstance(error, self._end):
            empty_frames(error)
        if not isinstance(error, ApiConnectionError) or isinstance(error, ApiException):
            return True
        if self._reader.complete:
            return False
        raise (self._reader.closed() if closed else self._reader.broken(error)) from error

    def _next(self) -> T | None:
        """Return the next of the events that came; None: more bytes are needed."""
        if self._cancelled:  # which must not look like the end
            raise self._reader.closed(": a wait for its next event was cancelled")
        event = None if self._closed else self._reader.next()
        if event is None and (self._closed or self._reader.ended):
            raise self._end
        return event

    def _take(self, data: bytes) -> None:
        if self._closed:  # meanwhile, by somebody else: the end of the data may come from that
            raise self._reader.closed()
        self._reader.feed(data)

    def _close(self) -> None:
        if not self._closed:
            self._closed = self._reader.ended = True
            if not isinstance(self.response, RawResponse):
                self.response.close()

    def __del__(self) -> None:
        if "_closed" in self.__dict__:
            with contextlib.suppress(RuntimeError):  # its loop is closed, and took all with it
                self._close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__}, status {self.status}, {state}>"


class Stream(_StreamBase[T]):
    """The events of an answer, each as soon as it has come. To be read once.

    Use it in a `with` block, or call `close`, when the loop may be left early. headers, status: of
    the answer; round_trip_time: seconds until its first line had come. Iterating raises an
    ApiStreamingException when the stream breaks off, or an event is an error or unfit.
    """

    _end = StopIteration

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        response = cast("RawStream", self.response)
        self._begin()
        try:
            while (event := self._next()) is None:
                self._take(response.read(self._reader.patience()))
            return event
        except BaseException as error:
            if self._fail(error):
                raise
        finally:
            self._busy = False
        raise StopIteration

    def close(self) -> None:
        """Give up the rest of the stream and its connection. May be called again."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncStream(_StreamBase[T]):
    """A `Stream` for `async for` and `async with`; `aclose` closes it."""

    _end = StopAsyncIteration

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        response = cast("AsyncRawStream", self.response)
        self._begin()
        try:
            while (event := self._next()) is None:
                self._take(await response.read(self._reader.patience()))
            return event
        except BaseException as error:
            if self._fail(error):
                raise
        finally:
            self._busy = False
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give up the rest of the stream and its connection. May be called again."""
        if not self._closed:
            self._close()
            await asyncio.sleep(0)  # a transport that was closed says so in the loop's next round

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def outputs(
    stream: AsyncStream[Any],
) -> AsyncGenerator[dict[Literal["output", "id"], str], None]:
    """Yield the pieces of output of a stream of responses, with the IDs of their datapoints."""
    pieces: deque[dict[Literal["output", "id"], str]] = deque()

    async def next_piece() -> dict[Literal["output", "id"], str]:
        while not pieces:
            event = await stream.__anext__()
            for sample in event["data"]:
                pieces.append({"output": str(sample["output"]), "id": str(sample["id"])})
        return pieces.popleft()

    return AsyncSteps(next_piece, stream.aclose)
