"""Send the records of the spool, in one daemon thread for each client and process.

Each round adopts orphaned segments when that is due, and delivers a window of records: when it is
full, after BATCH_SECONDS, or for a flush. While the server is away, tries are rare.

A sender is open until it is stopped, or leaves its records to another one, also without a spool: a
client that is no longer referenced may have pending records when the interpreter ends. Invariants:
an open sender with pending records has a thread, unless none can be started; within a round, a hook
of the user's may log, flush and close, and waits for nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Literal

from humanloop.exceptions import SpoolError
from humanloop.forks import no_fork
from humanloop.retries import RetryPolicy
from humanloop.spool.delivery import Away, Delivery, Paused, Server
from humanloop.spool.directory import Directory, Segment
from humanloop.spool.options import Flushed
from humanloop.spool.writer import BATCH_RECORDS, Bell, Writer

__all__ = ["END_SECONDS", "Sender"]

logger = logging.getLogger("humanloop.spool")

END_SECONDS = 2.0  # of flushing when a client is closed, and when the interpreter ends
TICK = 0.005  # seconds between two checks of an event loop that waits for a flush
BATCH_SECONDS = 1.0  # a record waits so long for its batch to fill
ADOPT_SECONDS = 10.0
PAUSE_SECONDS = 60.0  # between two tries while the server refuses the client
WARN_SECONDS = 5.0  # without an answer
_NEVER = 1 << 62


class _Flush:
    """A request to send all records that are pending now.

    is_done: they are sent, or can't be for now, or nobody waits any more; has_begun: a round has
    seen it; has_adopted: the orphaned segments are included, too.
    """

    def __init__(self, segments: list[Segment]) -> None:
        self.is_done = self.has_begun = self.has_adopted = False
        self._ends: dict[Segment, int] = {}  # the end of these records in each segment
        self._bell = Bell()
        self.add(segments)

    def add(self, segments: list[Segment]) -> None:
        """Include all records that these segments have now."""
        for segment in segments:
            with contextlib.suppress(OSError):  # it is closed meanwhile, so its records are sent
                self._ends.setdefault(segment, segment.end)

    @property
    def is_sent(self) -> bool:
        """True if no record is pending."""
        return self.has_adopted and all(segment.is_sent(end) for segment, end in self._ends.items())

    def end(self) -> None:
        """Let the waiting thread go on."""
        self.is_done = True
        self._bell.set()

    def wait(self, seconds: float) -> None:
        """Wait until it is done."""
        if not self.is_done:
            self._bell.wait(seconds)


class Sender:
    """Sends the records of a writer, and of orphaned segments in its directory.

    is_wanted: returns whether the spool is still referenced; if not, the thread ends when nothing
    is pending. is_running: True while the thread runs; each enqueue reads it, and `Thread.is_alive`
    takes five times as long.
    """

    def __init__(
        self,
        writer: Writer,
        directory: Directory,
        server: Server,
        policy: RetryPolicy,
        is_wanted: Callable[[], bool],
    ) -> None:
        self.state: Literal["idle", "sending", "waiting", "paused"] = "idle"
        self.last_error: str | None = None
        self.writer = writer
        self.directory = directory
        self.delivery = Delivery(writer, directory, server)
        self.is_running = False
        self._server = server
        self._policy = policy
        self._is_wanted = is_wanted
        self._flushes: list[_Flush] = []
        self._handovers = 0  # the senders that are about to leave their records to this one
        self._reported = 0  # the `sent` records that flushes have reported
        self._has_more = False  # there are orphaned segments to adopt
        self._turn = threading.Lock()
        self._turn_of: int | None = None  # the thread that has it
        self._thread: threading.Thread | None = None
        self._retry_at = self._adopt_at = self._since = 0.0
        self._away_since: float | None = None  # infinite after the warning
        _open[self] = None

    @property
    def is_in_round(self) -> bool:
        """True within a round of this thread, for example in a hook: it can't wait for itself."""
        return self._turn_of == threading.get_ident()

    # -- the thread --------------------------------------------------------------------------------

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it runs now."""
        try:
            with no_fork.lock:
                if self.is_running or (self._thread is not None and self._thread.is_alive()):
                    return True
                self._thread = thread = threading.Thread(
                    target=self._run, name="humanloop-spool", daemon=True
                )
            # Others may be here, too, and a signal handler may raise: the last one made runs.
            thread.start()
        except RuntimeError as error:  # the interpreter ends, or allows no (more) threads
            self.last_error = str(error)
            return False
        return True

    def close(self, timeout: float) -> None:
        """Send the pending records, for up to `timeout` seconds, and end the thread.

        Warns of records that can't be sent, unless `timeout` is 0.
        """
        end = time.monotonic() + timeout
        try:
            if self.delivery.left:
                self.flush(timeout)
            if timeout:
                self._warn_of_left()
        finally:
            self.stop(max(0.0, end - time.monotonic()))

    async def aclose(self) -> None:
        """Close in an event loop; see `close`."""
        from asyncio import sleep

        try:
            if self.delivery.left:
                await self.aflush(END_SECONDS)
            self._warn_of_left()
        finally:
            self.stop(0.0)
        end = time.monotonic() + 0.1
        while self.is_running and time.monotonic() < end:
            await sleep(TICK)

    def stop(self, seconds: float) -> None:
        """End the thread, which closes the files; wait for that, for up to `seconds`."""
        _open.pop(self, None)
        self.delivery.is_stopped = True
        self.writer.bell.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(seconds)
        if not self.is_running and not self.is_in_round:
            self._close()

    def _run(self) -> None:
        if threading.current_thread() is not self._thread:
            return  # another one was made meanwhile
        self.is_running = True
        try:
            self._send_until_stopped()
        finally:
            self.is_running, self._thread = False, None
            self._end_flushes(anyway=True)

    def _send_until_stopped(self) -> None:
        while not self.delivery.is_stopped:
            self.writer.bell.clear()
            wait = self._round()
            if not self._is_wanted() and self._ends_unused():
                return
            self.writer.bell.wait(wait)
        self._close()

    def _ends_unused(self) -> bool:
        """End, since nobody uses the spool any more; return False if the thread must go on.

        What is pending is left to another sender of this process, if there is one: a program may
        make client after client while the server is away, and one thread is enough.
        """
        other: Sender | None = None
        with no_fork.lock:
            if self._handovers or self._adopt_at <= time.monotonic():
                return False  # there may be more records soon
            if self.delivery.left:
                other = self._other_sender()
                if other is None:
                    return False
                other._handovers += 1
            _open.pop(self, None)
        try:
            self._close()
        finally:
            if other is not None:
                other._end_handover()
        return True

    def _other_sender(self) -> Sender | None:
        """Return another sender that would adopt the segments of this one."""
        for other in list(_open):
            is_same = other.directory.path == self.directory.path
            if is_same and other.is_running and other is not self:
                return other
        return None

    def _end_handover(self) -> None:
        """Adopt the segments of another sender, which has closed them."""
        with no_fork.lock:
            self._handovers -= 1
            self._adopt_at = 0.0
        self.writer.bell.set()

    def _close(self) -> None:
        with self._turn:
            self.delivery.close()

    def close_connections(self) -> None:
        """Close the connections to the server."""
        self._server.close()

    def _warn_of_left(self) -> None:
        """Warn of pending records, unless a warning has already said that they can't be sent."""
        left = self.delivery.left
        if left and self.state != "paused" and self._away_since != math.inf:
            reason = self.last_error or (
                "the server does not know their logs yet"
                if self.delivery.held
                else "the server has not answered yet"
            )
            kept = "1 record waits" if left == 1 else f"{left:,} records wait"
            logger.warning("%s; %s in %s for the next start", reason, kept, self.directory.path)

    # -- flushes -----------------------------------------------------------------------------------

    def flush(self, seconds: float) -> Flushed:
        """Send everything now; wait for that, for up to `seconds`."""
        flush = self.request()
        try:
            if self.start():
                flush.wait(seconds)
            else:
                self._pump(flush, seconds)
        finally:
            flush.end()
        return self._flushed()

    async def aflush(self, seconds: float) -> Flushed:
        """Send everything now, in an event loop; see `flush`."""
        from asyncio import sleep

        end = time.monotonic() + seconds
        flush = self.request()
        try:
            if self.start():
                while not flush.is_done and time.monotonic() < end:
                    await sleep(TICK)
            else:
                self._pump(flush, seconds)
        finally:
            flush.end()
        return self._flushed()

    def request(self) -> _Flush:
        """Request that everything be sent now; return the request."""
        flush = _Flush(self.delivery.segments)
        if self.is_in_round:
            flush.end()
        else:
            self._flushes.append(flush)
            self.writer.bell.set()
        return flush

    def _flushed(self) -> Flushed:
        sent = self.delivery.sent
        before, self._reported = self._reported, max(sent, self._reported)
        return Flushed(max(0, sent - before), self.delivery.left)

    def _pump(self, flush: _Flush, seconds: float) -> None:
        """Send in this thread for about `seconds`, since no other thread can be started."""
        end = time.monotonic() + seconds
        while not (flush.is_done or self.delivery.is_stopped) and time.monotonic() < end:
            self.writer.bell.clear()
            self.delivery.timeout = max(0.1, end - time.monotonic())
            wait = self._round()
            self.writer.bell.wait(max(0.0, min(wait, end - time.monotonic())))
        self.delivery.timeout = None
        if self.delivery.is_stopped:
            self._close()

    def _end_flushes(self, *, anyway: bool = False) -> None:
        """End the flushes whose records are sent; anyway: all, since nothing can be sent.

        One that nobody waits for has had its round, by which all was tried at once.
        """
        for flush in self._flushes[:]:
            if anyway or flush.is_sent:
                flush.end()
            if flush.is_done and (anyway or flush.has_begun):
                with contextlib.suppress(ValueError):  # another thread has done it
                    self._flushes.remove(flush)

    # -- a round -----------------------------------------------------------------------------------

    def _round(self) -> float:
        """Do one round; return the seconds until the next may be due."""
        with self._turn:
            try:
                self._turn_of = threading.get_ident()
                return self._step()
            except (OSError, SpoolError) as error:  # of the disk, such as a full one
                with contextlib.suppress(OSError):
                    self.delivery.abandon_closed()
                return self._wait_for(Away(error))
            except Exception as error:
                # Keep trying after any error, since the records are still on the disk.
                logger.exception("the spool in %s can't be sent", self.directory.path)
                return self._back_off(error, max(1.0, self._policy.delay(10)))
            finally:
                self._end_flushes()
                self._turn_of = None

    def _step(self) -> float:
        now = time.monotonic()
        flushes = self._flushes[:]  # one that is requested meanwhile is for the next round
        for flush in flushes:
            if not flush.has_begun:  # each flush tries at once
                flush.has_begun = True
                self._retry_at = 0.0
        is_asked = self._has_more or any(not flush.has_adopted for flush in flushes)
        if now >= self._adopt_at or (is_asked and self.delivery.can_adopt):
            self._adopt(now, flushes)
        if now < self._retry_at:
            self.writer.ring_at = _NEVER
            return self._next_round(now, self._retry_at)
        wait = self._fill(now, flushing=bool(flushes))
        if wait is not None:
            return wait
        self.state = "sending"
        try:
            self.delivery.deliver()
        except Paused as refusal:
            self._pause(refusal.error)
        except Away as absence:
            self._wait_for(absence)
        else:
            self._away_since = None
            self.last_error = None
        finally:
            self.delivery.settle()
        return 0.0

    def _adopt(self, now: float, flushes: list[_Flush]) -> None:
        """Adopt orphaned segments; the flushes wait for them."""
        self._adopt_at = now + ADOPT_SECONDS
        self._has_more = not self.delivery.adopt()
        for flush in flushes:
            if not flush.has_adopted:
                flush.add(self.delivery.adopted)
                flush.has_adopted = not self._has_more

    def _fill(self, now: float, *, flushing: bool) -> float | None:
        """Read the next window if it is due, and return None; otherwise the seconds until then."""
        delivery = self.delivery
        if delivery.has_window:
            return None
        # Set before looking for records, so that a record written after the look rings the bell.
        self.writer.ring_at = self.writer.tally.written + 1
        unread = delivery.unread
        has_held = delivery.has_held(now)
        if not unread and not has_held:
            self.state, self._since = ("waiting" if delivery.held else "idle"), 0.0
            return self._next_round(now, delivery.next_held())
        self._since = self._since or now
        left = self._since + BATCH_SECONDS - now
        if left > 0 and not (delivery.is_full() or flushing or has_held):
            self.writer.ring_at = self.writer.tally.written + BATCH_RECORDS - unread
            return left
        self._since = 0.0
        self.writer.ring_at = _NEVER
        if not delivery.read(now):
            return self._next_round(now, now + BATCH_SECONDS, delivery.next_held())
        return None

    def _next_round(self, now: float, *others: float | None) -> float:
        """Return the seconds until the next adoption, or until the first of other times."""
        adopt_at = now if self._has_more and self.delivery.can_adopt else self._adopt_at
        times = [each for each in (adopt_at, *others) if each is not None]
        return max(0.0, min(times) - now)

    # -- waiting -----------------------------------------------------------------------------------

    def _wait_for(self, absence: Away) -> float:
        self.delivery.attempt += 1
        seconds = max(0.05, self._policy.delay(self.delivery.attempt))
        if absence.seconds is not None:
            # A server that asks for no wait is not asked again and again without one.
            seconds = max(absence.seconds, min(seconds, 1.0))
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        elif now - self._away_since > WARN_SECONDS:
            self._away_since = math.inf
            reason, place = _message_of(absence.error), self.directory.path
            logger.warning("%s; unsent records are kept in %s", reason, place)
        return self._back_off(absence.error, seconds)

    def _back_off(self, error: Exception, seconds: float) -> float:
        self.state = "waiting"
        self.last_error = _message_of(error)
        self._retry_at = time.monotonic() + seconds
        return seconds

    def _pause(self, error: Exception) -> None:
        """Wait for PAUSE_SECONDS; warn if the reason is new."""
        before = self.last_error
        self._back_off(error, PAUSE_SECONDS)
        self.state = "paused"
        if before != self.last_error:
            logger.warning(
                "the spool in %s can't be sent for now, and nothing is lost: %s; the next try is in"
                " %d seconds",
                self.directory.path,
                self.last_error,
                PAUSE_SECONDS,
            )
        self._end_flushes(anyway=True)


def _message_of(error: Exception) -> str:
    """Return an error's message without its second line, the hint, and without the full stop."""
    return str(error).partition("\n")[0].rstrip(".")


# -- forks, and the end ---------------------------------------------------------------------------

_open: dict[Sender, None] = {}


def _at_exit() -> None:
    end = time.monotonic() + END_SECONDS
    senders = list(_open)
    for sender in senders:  # all at once, so that one whose server hangs delays no other
        if sender.delivery.left and sender.start():
            sender.request()
    for sender in senders:
        try:
            sender.close(max(0.001, end - time.monotonic()))
            sender.close_connections()
        except Exception:
            logger.exception("the spool in %s can't be closed", sender.directory.path)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)
atexit.register(_at_exit)
