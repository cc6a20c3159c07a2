"""A span is one traced call: it has a parent, a session, and becomes one log.

The API takes a log's parent only if that was logged before. A span without children is written
once, at its end. One with children is written when the first of them begins, so that it lies before
it, and gets its output at its end.

Invariants: a context variable says where the code runs, so tasks and whatever else copies the
context inherit it; a span that ends restores what was there before. A parent is always a log of the
same server and account as its child. What can't be written is nobody's parent, and no error of it
reaches those who log within it.
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
"""The keys of a LogRequest that say where it belongs."""
_KEPT = frozenset({"project", "project_id"})  # of a span that is written, for those within it
_PATIENCE = 1.0  # seconds; a fork may have left the lock held by a thread that is not there


class Writer(Protocol):
    """What logs are written by."""

    @property
    def destination(self) -> Hashable:
        """Return what is equal for writers to the same account of the same server."""
        ...

    def keep(self, body: Mapping[str, Any]) -> object:
        """Write the keys of a LogRequest."""
        ...

    def update(self, reference_id: str, body: Mapping[str, Any]) -> object:
        """Write the keys of an UpdateLogRequest, for the log with a reference ID."""
        ...


class _Place(NamedTuple):
    """Where code runs.

    spans: the innermost one for each destination; session: its reference ID; opened: the block of
    a session around, and before: the place of that block.
    """

    spans: Mapping[Hashable, Span] = {}
    session: str | None = None
    opened: Session | None = None
    before: _Place | None = None


_OUTSIDE = _Place()
_place: ContextVar[_Place] = ContextVar("humanloop_place", default=_OUTSIDE)


def here(writer: Writer) -> dict[str, str]:
    """Return what places a log in the span, or else the session, in which this code runs."""
    span, session = running(writer), _place.get().session
    if span is not None and span.precede():
        return {"parent_reference_id": span.reference_id}
    return {} if session is None else {"session_reference_id": session}


def running(writer: Writer) -> Span | None:
    """Return the span in which this code runs, of those that are logged where `writer` writes."""
    spans = _place.get().spans
    return spans.get(writer.destination) if spans else None


class Session:
    """Groups what is logged in a `with` or `async with` block.

    reference_id: of the session; one that was used before goes on. Several threads and tasks may
    use one session at a time.
    """

    def __init__(self, reference_id: str | None = None) -> None:
        if not isinstance(reference_id, (str, type(None))):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ApiTypeError(
                f"the reference_id of a session is a str, not {type(reference_id).__name__}"
            )
        self.reference_id = reference_id or new_reference()

    def __enter__(self) -> Self:
        _place.set(_Place({}, self.reference_id, self, _place.get()))
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Not by a token: a generator may leave the block in another context, or later than the
        # blocks that were opened within it.
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
    """A call under way, and a `with` block for each part of its code.

    keys: those of a LogRequest that are known at its beginning; begun where it is made, in the span
    and the session in which that code runs. failed: is told why it can't be written as a parent.
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
        self._inside: _Place | None = None  # between two parts of it

    def another(self) -> Span:
        """Return a span that began when and where this one did, which is not written yet."""
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
        # A generator that is amid a session is so again when it goes on, and its caller is not.
        self._inside = _place.get()
        outside, self._outside = self._outside, None
        if outside is not None:
            _place.set(outside)  # not by a token: it may be closed in another context

    def precede(self) -> bool:
        """Write the span, unless it is written, since a log is to be nested under it.

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
        """Write how the call has ended. outcome: `output` or `error`, and other keys of the log."""
        self._inside = None  # it leads to this span, which would wait for the garbage collector
        outcome["duration"] = time.perf_counter() - self._began
        given = {key: value for key, value in outcome.items() if value is not None}
        if not self._write(given):
            updates = ("output", "error", "duration")
            self._writer.update(
                self.reference_id, {key: given[key] for key in updates if key in given}
            )

    def _write(self, more: Mapping[str, Any]) -> bool:
        """Write the log, unless it is written, by whichever thread; tell whether it was now."""
        had = self._lock.acquire(timeout=_PATIENCE)
        try:
            if self._written:
                return False
            self._writer.keep({**self.keys, **more})
            self._written = True
            # A task that was begun here may live for long, and holds the span all the time.
            self.keys = {key: value for key, value in self.keys.items() if key in _KEPT}
            return True
        finally:
            if had:
                self._lock.release()


def _precede_fork() -> None:
    """Write the spans around a fork, or both processes would, and one of them incompletely."""
    for span in _place.get().spans.values():
        span.precede()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_precede_fork)
