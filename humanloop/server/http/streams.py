"""An answer that is a stream of server-sent events (HTML Living Standard, section 9.2).

The events come from a generator that may block, so each of its steps runs in a thread, one at a
time, and only after the previous event was sent. Invariants: an event is one `data: ` line and an
empty line; however the stream ends, the generator is closed, also in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from typing import Any

from starlette.types import Receive, Scope, Send

from humanloop import schemas

logger = logging.getLogger("humanloop.server")
_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
# Readers that split text at every line break of Unicode would split at these, too.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


class EventStream:
    """The JSON texts of a generator, sent as events.

    executor: runs the steps. failure: the JSON value sent for an error in mid-stream.
    leave: ends the running step, from any thread, once the reader has left.
    """

    status_code = 200

    def __init__(
        self,
        events: Generator[str, None, None],
        executor: Executor,
        failure: Callable[[Exception], Any],
        leave: Callable[[], None],
    ) -> None:
        self._events = events
        self._executor = executor
        self._failure = failure
        self._leave = leave
        self._lock = threading.Lock()
        self._first: bytes | None = None
        self._leaving: asyncio.Future[None]

    async def begin(self, receive: Receive) -> None:
        """Wait for the first event, so that an earlier failure is still an answer of its own."""
        self._leaving = asyncio.ensure_future(_reader_left(receive))
        self._leaving.add_done_callback(lambda _: self._leave())
        try:
            self._first = await self._next()
        except BaseException:
            self._leaving.cancel()  # which calls `leave`
            self._executor.submit(self._close)
            raise

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer over ASGI; return when everything was sent or the reader has left."""
        leaving = self._leaving
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            event = self._first
            while event is not None and not leaving.done():
                await send({"type": "http.response.body", "body": event, "more_body": True})
                event = await self._following()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()  # which calls `leave`
            # Submitted before anything is awaited, so that it also runs if the server stops.
            closed = asyncio.get_running_loop().run_in_executor(self._executor, self._close)
            await asyncio.shield(closed)

    async def _next(self) -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._step)

    async def _following(self) -> bytes | None:
        """Return the next event, which reports an error if there was one; None at the end."""
        try:
            return await self._next()
        except Exception as error:
            return b"event: error\n" + _encode(schemas.to_json(self._failure(error)))

    def _step(self) -> bytes | None:
        with self._lock:
            text = next(self._events, None)
        return None if text is None else _encode(text)

    def _close(self) -> None:
        with self._lock:  # a step may still run when the server stops
            try:
                self._events.close()
            except Exception:
                logger.exception("a stream could not be closed")


async def _reader_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _encode(text: str) -> bytes:
    # Clients of the 0.5 line split lines at every "data: ", which compact JSON has only in strings.
    escaped = text.replace("data: ", "data\\u003a ").translate(_ESCAPES)
    return f"data: {escaped}\n\n".encode()
