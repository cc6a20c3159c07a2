"""A span is one traced call: it has a parent, a session, and becomes one log.

The API takes a log's parent only if that was logged before. A span without children is written
once, at its end. One with children is written when the first of them begins, so that it lies before
it, and gets its output at its end.

Invariants: a context variable says in which span the code runs, so tasks and whatever else copies
the context inherit it; a span that ends restores what was there before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Protocol

from typing_extensions import Self

from humanloop.spool.references import new_reference

__all__ = ["PLACES", "Session", "Span", "Writer", "here", "running"]

PLACES = ("parent_reference_id", "parent_id", "session_reference_id", "session_id")
"""The keys of a LogRequest that say where it belongs."""
_PATIENCE = 1.0  # seconds; a fork may have left the lock held by a thread that is not there

_span: ContextVar[Span | None] = ContextVar("humanloop_span", default=None)
_session: ContextVar[str | None] = ContextVar("humanloop_session", default=None)


class Writer(Protocol):
    """What logs are written by."""

    def keep(self, body: Mapping[str, Any]) -> object:
        """Write the keys of a LogRequest."""
        ...

    def update(self, reference_id: str, body: Mapping[str, Any]) -> object:
        """Write the keys of an UpdateLogRequest, for the log with a reference ID."""
        ...


def here() -> dict[str, str]:
    """Return what places a log in the span, or else the session, in which this code runs."""
    span, session = _span.get(), _session.get()
    if span is not None:
        span.precede()
        return {"parent_reference_id": span.reference_id}
    return {} if session is None else {"session_reference_id": session}


def running() -> Span | None:
    """Return the span in which this code runs."""
    return _span.get()


class Session:
    """Groups what is logged in a `with` or `async with` block.

    reference_id: of the session; one that was used before goes on.
    """

    def __init__(self, reference_id: str | None = None) -> None:
        self.reference_id = reference_id or new_reference()
        self._before: list[tuple[str | None, Span | None]] = []

    def __enter__(self) -> Self:
        self._before.append((_session.get(), _span.get()))
        _session.set(self.reference_id)
        _span.set(None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, span = self._before.pop()
        _session.set(session)
        _span.set(span)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"Session({self.reference_id!r})"


class Span:
    """A call under way.

    keys: those of a LogRequest that are known at its beginning; begun where it is made, in the span
    and the session in which that code runs.
    """

    def __init__(self, writer: Writer, keys: Mapping[str, Any]) -> None:
        self.reference_id = new_reference()
        self.keys = {
            **here(),
            **keys,
            "reference_id": self.reference_id,
            "created_at": datetime.now(timezone.utc),
        }
        self._writer = writer
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._written = False

    def enter(self) -> Span | None:
        """Let the code that follows run in this span; return what `leave` wants."""
        before = _span.get()
        _span.set(self)
        return before

    @staticmethod
    def leave(before: Span | None) -> None:
        """Let the code that follows run where it did before `enter`."""
        _span.set(before)  # not by a token: a generator may be closed in another context

    def precede(self) -> None:
        """Write the span, unless it is written, since a log is to be nested under it."""
        if not self._written:
            is_placed = self.keys.keys() & set(PLACES)
            session = {} if is_placed else {"session_reference_id": self.reference_id}
            self._write({**self.keys, **session})

    def end(self, **outcome: Any) -> None:
        """Write how the call has ended. outcome: `output` or `error`, and other keys of the log."""
        outcome["duration"] = time.perf_counter() - self._began
        given = {key: value for key, value in outcome.items() if value is not None}
        if not self._write({**self.keys, **given}):
            updates = ("output", "error", "duration")
            self._writer.update(
                self.reference_id, {key: given[key] for key in updates if key in given}
            )

    def _write(self, keys: Mapping[str, Any]) -> bool:
        """Write the log, unless it is written, by whichever thread; tell whether it was now."""
        had = self._lock.acquire(timeout=_PATIENCE)
        try:
            if self._written:
                return False
            self._writer.keep(keys)
            self._written = True
            return True
        finally:
            if had:
                self._lock.release()
