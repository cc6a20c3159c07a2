"""Streams of events: `Stream` for a `for` loop, `AsyncStream` for an `async for` loop.

`EventReader` does the work for both and no I/O: bytes go in, typed events come out. What stays
true: every event was validated before anybody sees it, an error comes after all the events before
it and holds them, and whatever ends a stream (its end, an error, leaving it) gives its connection
up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiResponseDecodingError,
    ApiResponseValidationError,
    ApiStreamBrokenError,
    ApiStreamEventError,
    ApiStreamTimeoutError,
    ApiTimeoutError,
    SchemaValidationError,
    describe,
    exception_for_stream,
)
from humanloop.http import Headers
from humanloop.secrets import redact_error
from humanloop.server_sent_events import EventParser, ServerSentEvent
from humanloop.transport import AsyncRawStream, RawResponse, RawStream

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AsyncStream", "EventReader", "Stream", "outputs"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")
_END = "[DONE]"  # how model providers end their streams; not part of this API, and harmless


@dataclass(frozen=True)
class StreamContext(Generic[T_co]):
    """What a stream knows of its call.

    decode: the typed event for an event's data, raising SchemaValidationError; failure: makes the
    errors; end: when the whole call must be over, by `time.monotonic()`; None: with every line that
    comes, there are `timeout` seconds more; redact: takes what is secret out of a text.
    """

    decode: Callable[[str], T_co]
    failure: Callable[[type[ApiException], Any, str], ApiException]
    end: float | None = None
    timeout: float | None = None
    read_timeout: float | None = None
    max_event_bytes: int | None = None
    redact: Callable[[str], str] | None = None


class EventReader(Generic[T]):
    """Bytes to typed events."""

    def __init__(self, context: StreamContext[T], ready: tuple[T, ...] = ()) -> None:
        # ready: the events themselves, of an answer that was no stream
        self._context = context
        self._parser = EventParser(max_event_bytes=context.max_event_bytes)
        self._waiting: deque[ServerSentEvent] = deque()
        self._ready = deque(ready)
        self._seen: list[T] = []
        self._refusal: ValueError | None = None  # of the parser, to be told after all events
        self._alive = monotonic()
        self._whole = bool(ready)  # whether the last event has come for certain
        self.ended = bool(ready)

    def resume(self) -> None:
        """Say that the wait for the next event begins."""
        self._alive = monotonic()

    def patience(self) -> float | None:
        """Seconds to wait for more bytes; raises ApiStreamTimeoutError when there are none left."""
        context = self._context
        limits = [] if context.read_timeout is None else [context.read_timeout]
        end = context.end
        if end is None and context.timeout is not None:
            end = self._alive + context.timeout
        if end is not None:
            limits.append(end - monotonic())
        if limits and min(limits) <= 0:
            raise self._failed(ApiStreamTimeoutError, None, "the time for the stream is over")
        return min(limits, default=None)

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none at all mean that the body has ended."""
        lines = self._parser.lines
        start = 0
        try:
            # Event by event, so that one which is refused takes none of the others with it.
            for end in _EVENT_END.finditer(data):
                self._waiting.extend(self._parser.feed(data[start : end.end()]))
                start = end.end()
            self._waiting.extend(self._parser.feed(data[start:]))
        except ValueError as error:
            self._refusal = error
        if self._parser.lines > lines:
            self._alive = monotonic()
        self.ended = self.ended or not data

    def next(self) -> T | None:
        """The next event of those that have come; None: there is none yet, or none any more."""
        while self._waiting and not self._ready:
            event = self._waiting.popleft()
            if event.data == _END:
                self.ended = self._whole = True
                self._waiting.clear()
            elif event.event == "error":
                body = _loaded(event.data)
                detail = _said(body, self._context.redact)
                raise self._failed(ApiStreamEventError, body, detail)
            elif event.event == "message":
                self._ready.append(self._decoded(event.data))
        if self._ready:
            self._seen.append(self._ready.popleft())
            return self._seen[-1]
        if self._refusal is not None and not self._whole:
            said = str(self._refusal)
            raise self._failed(ApiStreamBrokenError, None, said) from self._refusal
        if self.ended and not self._whole and self._parser.pending:
            raise self._failed(
                ApiStreamBrokenError, None, "the stream ended in the middle of an event"
            )
        return None

    def broken(self, error: ApiConnectionError) -> ApiException:
        """The error for a transport's."""
        if self._context.redact is not None:
            redact_error(error, self._context.redact)
        kind = ApiStreamTimeoutError if isinstance(error, ApiTimeoutError) else ApiStreamBrokenError
        return self._failed(kind, None, f"the stream broke off: {error.reason}")

    def closed(self) -> ApiException:
        """The error for whoever waits while somebody else closes the stream."""
        return self._failed(ApiStreamBrokenError, None, "the stream was closed")

    def _decoded(self, data: str) -> T:
        try:
            event = self._context.decode(data)
        except SchemaValidationError as error:
            unreadable = error.is_unreadable
            if not unreadable and is_report(body := _loaded(data)):
                raise self._reported(body) from error
            kind = ApiResponseDecodingError if unreadable else ApiResponseValidationError
            unfit = self._failed(kind, data, f"an event does not fit {error.summary}")
            cast(ApiResponseValidationError, unfit).errors = error.errors
            raise unfit from error
        except (ValueError, RecursionError) as error:
            detail = f"an event is not the JSON that was promised: {error}"
            raise self._failed(ApiResponseDecodingError, data, detail) from error
        if is_report(event):
            raise self._reported(event)
        return event

    def _reported(self, body: Any) -> ApiException:
        return self._failed(ApiStreamEventError, body, _said(body, self._context.redact))

    def _failed(self, kind: type[ApiException], body: Any, detail: str) -> ApiException:
        self._waiting.clear()
        self.ended = True
        kind = exception_for_stream(kind)
        error = self._context.failure(kind, body, detail)
        error.__dict__["events"] = tuple(self._seen)
        return error


def is_report(body: object) -> bool:
    """Whether the JSON of an event, whose type does not tell, is a report of an error."""
    return isinstance(body, Mapping) and "data" not in body and bool(_said(body))


def _loaded(data: str) -> Any:
    """The data of an event: decoded where it is JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data


def _said(body: Any, redact: Callable[[str], str] | None = None) -> str:
    """What an event says of an error, in one line."""
    inner = cast("Any", body).get("error") if isinstance(body, Mapping) else None
    return describe(inner if isinstance(inner, Mapping) else body, redact)


class _Answer(Generic[T]):
    """What both kinds of streams tell of the answer, and how they end."""

    def __init__(
        self, response: RawStream | AsyncRawStream | RawResponse, reader: EventReader[T]
    ) -> None:
        self.headers: Headers = response.headers
        self.status: int = response.status
        self.response = response
        self.round_trip_time: float = response.elapsed
        self._reader = reader
        self._closed = False
        self._busy = False

    def _enter(self) -> None:
        """A wait for the next event begins."""
        if self._busy:
            raise RuntimeError("somebody else is waiting for the next event of this stream")
        self._busy = True
        self._reader.resume()

    def _broken(self, error: ApiConnectionError) -> ApiException:
        return self._reader.closed() if self._closed else self._reader.broken(error)

    def _take(self, data: bytes) -> None:
        if self._closed:  # meanwhile, by somebody else, as which the data may have ended
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
        return f"<{type(self).__name__} {self.status}>"


class Stream(_Answer[T]):
    """The events of an answer, each as soon as it has come. To be read once.

    Use it in a `with` block, or call `close`, when the loop may be left early. headers, status: of
    the answer; round_trip_time: seconds until its first line had come. Iterating raises an
    ApiStreamingException when the stream breaks off, or an event is an error or unfit.
    """

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self._enter()
        try:
            while self._closed or (event := self._reader.next()) is None:
                if self._closed or self._reader.ended:
                    raise StopIteration
                seconds = self._reader.patience()
                try:
                    data = cast(RawStream, self.response).read(seconds)
                except ApiConnectionError as error:
                    raise self._broken(error) from error
                self._take(data)
        except BaseException:
            self.close()
            raise
        finally:
            self._busy = False
        return event

    def close(self) -> None:
        """Give up the rest of the stream and its connection. May be called again."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncStream(_Answer[T]):
    """As `Stream`, for `async for` and `async with`; `aclose` closes it."""

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        self._enter()
        try:
            while self._closed or (event := self._reader.next()) is None:
                if self._closed or self._reader.ended:
                    raise StopAsyncIteration
                seconds = self._reader.patience()
                try:
                    data = await cast(AsyncRawStream, self.response).read(seconds)
                except ApiConnectionError as error:
                    raise self._broken(error) from error
                self._take(data)
        except BaseException:
            self._close()
            raise
        finally:
            self._busy = False
        return event

    async def aclose(self) -> None:
        """Give up the rest of the stream and its connection. May be called again."""
        if not self._closed:
            self._close()
            await asyncio.sleep(0)  # a transport that was closed says so in the loop's next round

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


async def outputs(
    stream: AsyncStream[Any],
) -> AsyncGenerator[dict[Literal["output", "id"], str], None]:
    """The pieces of output that a stream of responses brings, with the IDs of their datapoints."""
    async with stream:
        async for event in stream:
            for sample in event["data"]:
                yield {"output": str(sample["output"]), "id": str(sample["id"])}
