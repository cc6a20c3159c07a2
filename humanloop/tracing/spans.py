"""Spans: a span is one traced call; it has a parent and a session, and becomes one log.

The API accepts a parent only if it was logged before its child. A span without children is written
once, at its end. A span with children is written when the first child begins, so that it comes
first, and an update adds its output at its end.

Invariants: a context variable holds the current span and session, so tasks and everything else that
copies the context inherit them; a span that ends restores the previous state. A parent is always a
log of the same server and account as its child. A span that can't be written is never a parent, and
its error does not reach the code that logs within it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from contextvars import ContextVar
from copy import copy
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol

from typing_extensions import Self

from humanloop.exceptions import ApiTypeError
from humanloop.spool.references import new_reference

__all__ = ["PLACES", "Session", "Span", "Writer", "here", "running"]

PLACES = ("parent_reference_id", "parent_id", "session_reference_id", "session_id")
"""The keys of a LogRequest that name its parent or its session."""
_KEPT = frozenset({"project", "project_id"})  # a written span keeps these for calls within it
_PATIENCE = 1.0  # seconds; in a fork's child, the lock may be held by a thread of the parent


class Writer(Protocol):
    """Writes logs."""

    @property
    def destination(self) -> Hashable:
        """A value that is equal for writers to the same account of the same server."""
        ...

    def keep(self, body: Mapping[str, Any]) -> object:
        """Write the keys of a LogRequest."""
        ...

    def update(self, reference_id: str, body: Mapping[str, Any]) -> object:
        """Write the keys of an UpdateLogRequest, for the log with a reference ID."""
        ...


class _Place(NamedTuple):
    """The spans and the session in which code runs.

    spans: the innermost span of each destination; session: its reference ID; opened: the session
    whose block is the innermost; before: the place outside that block.
    """

    spans: Mapping[Hashable, Span] = {}
    session: str | None = None
    opened: Session | None = None
    before: _Place | None = None


_OUTSIDE = _Place()
_place: ContextVar[_Place] = ContextVar("humanloop_place", default=_OUTSIDE)


def here(writer: Writer) -> dict[str, str]:
    """Return the key that places a log in the current span, or else in the current session."""
    span, session = running(writer), _place.get().session
    if span is not None and span.precede():
        return {"parent_reference_id": span.reference_id}
    return {} if session is None else {"session_reference_id": session}


def running(writer: Writer) -> Span | None:
    """Return the innermost current span with the destination of `writer`."""
    spans = _place.get().spans
    return spans.get(writer.destination) if spans else None


class Session:
    """Groups the logs of a `with` or `async with` block.

    reference_id: of the session; that of an earlier session continues it. Several threads and tasks
    may use a session at the same time.
    """

    def __init__(self, reference_id: str | None = None) -> None:
        if not isinstance(reference_id, (str, type(None))):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ApiTypeError(
                f"the reference_id of a session must be a str, not {type(reference_id).__name__}"
            )
        self.reference_id = reference_id or new_reference()

    def __enter__(self) -> Self:
        _place.set(_Place({}, self.reference_id, self, _place.get()))
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Without a token: a generator may leave the block in another context, or while blocks that
        # were opened later are still open.
        place: _Place | None = _place.get()
        while place is not None and place.opened is not self:
            place = place.before
        if place is not None and place.before is not None:
            _place.set(place.before)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc_info: object) -> None:
        self.__exit__(*exc_info)

    def __repr__(self) -> str:
        return f"Session({self.reference_id!r})"


class Span:
    """A running call; each part of its code runs in a `with` block of the span.

    The span begins when it is made, in the current span and session. keys: the keys of its
    LogRequest that are known then. failed: is called with the error if it can't be written as a
    parent.
    """

    def __init__(
        self, writer: Writer, keys: Mapping[str, Any], failed: Callable[[Exception], object]
    ) -> None:
        self.reference_id = new_reference()
        self.keys: Mapping[str, Any] = {
            **here(writer),
            **keys,
            "reference_id": self.reference_id,
            "created_at": datetime.now(timezone.utc),
        }
        self._writer = writer
        self._destination = writer.destination
        self._failed = failed
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._written = False
        self._outside: _Place | None = None  # while the code runs
        self._inside: _Place | None = None  # between two parts of the code

    def another(self) -> Span:
        """Return an unwritten span with the beginning and the place of this one."""
        made = copy(self)
        made.reference_id = new_reference()
        made.keys = {**self.keys, "reference_id": made.reference_id}
        made._lock = threading.Lock()
        return made

    def __enter__(self) -> Self:
        around = self._outside = _place.get()
        inside = self._inside
        if inside is None:
            inside = around._replace(spans={**around.spans, self._destination: self})
        _place.set(inside)
        return self

    def __exit__(self, *exc_info: object) -> None:
        # A generator that yields within a session is in it again when it continues; its caller not.
        self._inside = _place.get()
        outside, self._outside = self._outside, None
        if outside is not None:
            _place.set(outside)  # without a token: the span may be closed in another context

    def precede(self) -> bool:
        """Write the span, unless it is written, so that a log can be nested under it.

        Returns whether it is written.
        """
        if self._written:
            return True
        is_placed = self.keys.keys() & set(PLACES)
        session = {} if is_placed else {"session_reference_id": self.reference_id}
        try:
            self._write(session)
        except Exception as error:
            self._failed(error)
        return self._written

    def end(self, **outcome: Any) -> None:
        """Write the end of the call. outcome: `output` or `error`, and other keys of the log."""
        self._inside = None  # break the cycle, which only the garbage collector would free
        outcome["duration"] = time.perf_counter() - self._began
        given = {key: value for key, value in outcome.items() if value is not None}
        if not self._write(given):
            updates = ("output", "error", "duration")
            self._writer.update(
                self.reference_id, {key: given[key] for key in updates if key in given}
            )

    def _write(self, more: Mapping[str, Any]) -> bool:
        """Write the log unless any thread has written it; return whether it was written now."""
        had = self._lock.acquire(timeout=_PATIENCE)
        try:
            if self._written:
                return False
            self._writer.keep({**self.keys, **more})
            self._written = True
            # Free the rest: a task that was started within the span may hold it for a long time.
            self.keys = {key: value for key, value in self.keys.items() if key in _KEPT}
            return True
        finally:
            if had:
                self._lock.release()


def _precede_fork() -> None:
    """Write the current spans before a fork: otherwise both processes would, one incompletely."""
    for span in _place.get().spans.values():
        span.precede()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_precede_fork)
