"""Send the records of the spool, in one daemon thread for each client and process.

Each round adopts orphaned segments, reads a window of at most BATCH_RECORDS logs, BATCH_RECORDS
pieces of feedback, and BATCH_BYTES, and sends it. Acknowledged records leave the window, and the
rest is sent in the next round. A record about a log that the server does not know yet is held
back, and does not delay the others.

Every request has `X-Retry-Count`, since the record may have been sent before: the server then
repeats its first answer. Invariants: a record is pending until the server has acknowledged it or it
is in a `.bad` file; memory is bounded, however many records are pending.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple, cast

from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    BadRequestError,
    InternalServerError,
    OpenApiException,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    UnprocessableEntityError,
)
from humanloop.retries import RetryPolicy, parse_retry_after
from humanloop.spool import batches, segments
from humanloop.spool.batches import BY_REFERENCE, LOG, UPDATE, Item
from humanloop.spool.directory import Directory, Segment
from humanloop.spool.writer import BATCH_BYTES, BATCH_RECORDS, Writer

__all__ = ["Flush", "Send", "Sender"]

logger = logging.getLogger("humanloop.spool")

BATCH_SECONDS = 1.0  # a record waits so long for its batch to fill
ADOPT_SECONDS = 10.0
PAUSE_SECONDS = 60.0  # between two tries while the server refuses the client
HOLD_SECONDS = 60.0  # after its first refusal, a record is held back at most so long
HELD = 1000
KNOWN_IDS = 10_000
WARN_SECONDS = 5.0  # without an answer
LONGEST_WAIT = 300.0  # the limit for Retry-After
_NEVER = 1 << 62

Send = Callable[[str, bytes, str], Any]
"""Send the body of an action, an array or an update, with the reference ID of the update's log;
return the body of the answer as plain data."""


class Flush:
    """A request to send everything now; `done` is set when all is sent, or can't be for now."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.begun = False


class Away(Exception):
    """Nothing can be sent for now. seconds: until the next try; None: the policy's backoff."""

    def __init__(self, error: Exception, seconds: float | None = None) -> None:
        self.error = error
        self.seconds = seconds


class Paused(Exception):
    """The server refuses the client itself, so tries are rare."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Counts(NamedTuple):
    """The numbers of acknowledged records, of duplicates among them, and of those set aside."""

    sent: int = 0
    duplicates: int = 0
    set_aside: int = 0


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
        send: Send,
        policy: RetryPolicy,
        is_wanted: Callable[[], bool],
    ) -> None:
        self.counts = Counts()
        self.state: Literal["idle", "sending", "waiting", "paused"] = "idle"
        self.last_error: str | None = None
        self.writer = writer
        self._directory = directory
        self._send = send
        self._policy = policy
        self._is_wanted = is_wanted
        self._adopted: list[Segment] = []
        self._due: list[Item] = []
        self._held: list[Item] = []
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._flushes: list[Flush] = []
        self._turn = threading.Lock()
        self.is_running = False
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._attempt = 0
        self._retry_at = self._adopt_at = self._since = 0.0
        self._delivered_at = 0.0
        self._away_since: float | None = None  # infinite after the warning
        self._unreadable: set[str] = set()

    # -- the thread --------------------------------------------------------------------------------

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it runs now."""
        thread = threading.Thread(target=self._run, name="humanloop-spool", daemon=True)
        with self.writer.lock:
            if self.is_running:
                return True
            self._thread, self.is_running = thread, True
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter ends, or no more threads are allowed
                self._thread, self.is_running = None, False
                self.last_error = str(error)
                return False
        return True

    def stop(self, seconds: float) -> None:
        """End the thread, which closes the files; wait for that, for up to `seconds`."""
        self._stopping = True
        self.writer.bell.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)
        if not self.is_running:
            self._close()

    def _run(self) -> None:
        try:
            self._send_until_stopped()
        finally:
            self.is_running = False

    def _send_until_stopped(self) -> None:
        while not self._stopping:
            self.writer.bell.clear()
            try:
                with self._turn:
                    wait = self._step()
            except OSError as error:  # of the disk, such as a full one
                self._wait_for(Away(error))
                wait = 0.0
            except Exception as error:
                # Keep trying after any error, since the records are still on the disk.
                logger.exception("the spool in %s can't be sent", self._directory.path)
                wait = self._back_off(error, max(1.0, self._policy.delay(10)))
            if not self._is_wanted() and not self.left:
                break
            self.writer.bell.wait(wait)
        self._finish()
        self._close()

    def _close(self) -> None:
        """Release the locks of all files; other processes adopt the pending records."""
        with self._turn:
            for segment in self._adopted:
                segment.close()
            self._adopted, self._due, self._held = [], [], []
            self.writer.close()

    def tell_left(self) -> None:
        """Warn of pending records, unless a warning has already said that they can't be sent."""
        left = self.left
        if left and self.state != "paused" and self._away_since != math.inf:
            reason = self.last_error or "the server has not answered yet"
            kept = "1 record waits" if left == 1 else f"{left:,} records wait"
            logger.warning("%s; %s in %s for the next start", reason, kept, self._directory.path)

    # -- for other threads -------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """The number of pending records."""
        return self.writer.tally.left + sum(each.tally.left for each in self._adopted)

    @property
    def held(self) -> int:
        """The number of records that are held back."""
        return len(self._held)

    def flush(self) -> Flush:
        """Request that everything be sent now; return the request."""
        flush = Flush()
        self._flushes.append(flush)
        self._retry_at = self._adopt_at = 0.0
        self._attempt = 0
        self.writer.bell.set()
        return flush

    def forget(self, flush: Flush) -> None:
        """Withdraw a request."""
        if flush in self._flushes:
            self._flushes.remove(flush)

    def pump(self, flush: Flush, seconds: float) -> None:
        """Send in this thread for about `seconds`, since no other thread can be started."""
        end = time.monotonic() + seconds
        while not flush.done.is_set() and time.monotonic() < end:
            with self._turn:
                wait = self._step()
            self.writer.bell.clear()
            self.writer.bell.wait(max(0.0, min(wait, end - time.monotonic())))

    # -- a round -----------------------------------------------------------------------------------

    def _step(self) -> float:
        """Do one round; return the seconds until the next may be due."""
        now = time.monotonic()
        flushing = list(self._flushes)
        if now >= self._adopt_at:
            self._adopt_at = now + ADOPT_SECONDS  # set first: a flush meanwhile resets it
            self._look_around()
        for flush in flushing:
            flush.begun = True
        if now < self._retry_at:
            self.writer.ring_at = _NEVER
            return min(self._retry_at, self._adopt_at) - now
        wait = self._fill(now, flushing=bool(flushing))
        if wait is not None:
            self._finish()
            return wait
        self.state = "sending"
        try:
            self._deliver(self._due)
        except Paused as refusal:
            self._pause(refusal.error)
        except Away as absence:
            self._wait_for(absence)
        else:
            self._attempt = 0
            self._away_since = None
            self.last_error = None
        finally:
            self._settle()
        return 0.0

    def _fill(self, now: float, *, flushing: bool) -> float | None:
        """Read the next window if it is due, and return None; otherwise the seconds until then."""
        if self._due:
            return None
        # Set before looking for records, so that a record written after the look rings the bell.
        self.writer.ring_at = self.writer.written + 1
        held = [item for item in self._held if now >= _next_try(item)]
        unread = self._unread() if len(self._held) < HELD else 0
        if not unread and not held:
            self.state, self._since = ("waiting" if self._held else "idle"), 0.0
            return max(0.0, min([self._adopt_at, *map(_next_try, self._held)]) - now)
        self._since = self._since or now
        left = self._since + BATCH_SECONDS - now
        full = unread >= BATCH_RECORDS or self._unread_bytes() >= BATCH_BYTES
        if left > 0 and not (full or flushing or held):
            self.writer.ring_at = self.writer.written + BATCH_RECORDS - unread
            return left
        self._since = 0.0
        self.writer.ring_at = _NEVER
        self._held = [item for item in self._held if item not in held]
        self._due = held
        if unread:
            self._read_window()
        return None

    def _segments(self) -> list[Segment]:
        return [*self._adopted, *self.writer.segments]

    def _unread(self) -> int:
        """Return the number of unread records; it may be too high while one is being written."""
        if not any(each.position < each.end for each in self._segments()):
            return 0
        return max(1, self.left - sum(len(each.open) for each in self._segments()))

    def _unread_bytes(self) -> int:
        return sum(each.end - each.position for each in self._segments())

    def _look_around(self) -> None:
        """Adopt orphaned segments, and look at the directory's size."""
        self.writer.leave_deleted()
        if not self.writer.look():
            return
        mine = {each.path.stem.rpartition("-")[0] for each in self._segments()}
        adopted = self._directory.adopt({*mine, self.writer.name})
        self._adopted += adopted
        if count := sum(each.tally.left for each in adopted):
            logger.info("sending %d records that ended processes left", count)
        self._settle()
        for path in self._directory.unreadable():
            if path.name not in self._unreadable:
                self._unreadable.add(path.name)
                logger.warning("this version can't read the segment %s, and leaves it there", path)

    def _read_window(self) -> None:
        """Read records until the window is full."""
        logs = feedback = size = 0
        for segment in self._segments():
            while logs < BATCH_RECORDS and feedback < BATCH_RECORDS and size < BATCH_BYTES:
                found = segment.next()
                if found is None:
                    break
                size += len(found.body)
                if found.kind == "record":
                    segment.open[found.start] = None
                    item = batches.item_of(segment, found.start, found.body)
                    self._due.append(item)
                    logs += item.action == LOG
                    feedback += item.action != LOG
                elif found.kind == "damaged" and not segment.is_cut:
                    self._drop_damaged(segment, found)
                segment.position = found.end

    def _deliver(self, items: Sequence[Item]) -> None:
        for some in batches.in_order(items):
            pending = [some]
            while pending and not self._stopping:
                pending += self._try(pending.pop())

    def _try(self, items: list[Item]) -> list[list[Item]]:
        """Send a batch; return the batches to be sent next, the first of them at the end."""
        action = items[0].action
        if action not in batches.ACTIONS:
            for item in items:
                self._set_aside(item, "written by a later version, or not the JSON of a request")
            return []
        try:
            answers = self._send(action, batches.body_of(items), items[0].names)
        except (UnprocessableEntityError, BadRequestError) as error:
            return self._part(items, error)
        except ApiException as error:
            return self._react(items, error)
        except ApiConnectionError as error:
            raise Away(error) from error
        except OpenApiException as error:
            raise Paused(error) from error
        told = cast("list[object]", answers) if isinstance(answers, list) else []
        if len(told) != len(items):
            raise Paused(
                ValueError("the answer is not the API's, which has one entry for each item")
            )
        for item, answer in zip(items, told, strict=True):
            if action == LOG and isinstance(answer, dict):
                self._remember(item.names, cast("dict[str, Any]", answer).get("id"))
        self._delivered_at = time.monotonic()
        self._answered(items)
        return []

    def _part(self, items: list[Item], error: ApiException) -> list[list[Item]]:
        """Handle the items that an answer names; return batches of the others, to be sent again."""
        judged = batches.verdicts(error, items)
        if not judged:
            return self._react(items, error)
        out: set[int] = set()
        for index, verdict, reason in judged:
            item = items[index]
            out.add(index)
            if verdict == "known":
                self._answered([item], duplicates=1)
            elif verdict == "refused":
                self._set_aside(item, reason)
            elif item.action == BY_REFERENCE and item.names in self._ids:
                out.discard(index)
                self._name_by_id(item)
            else:
                self._put_off(item, reason, known=True)
        rest = [item for index, item in enumerate(items) if index not in out]
        return [part for part in reversed(batches.in_order(rest)) if part]

    def _react(self, items: list[Item], error: ApiException) -> list[list[Item]]:
        """React to the status of an answer: split the batch, hold an item back, wait or pause."""
        if error.status in (413, 422):
            return self._halve(items, str(error))
        failed = isinstance(error, InternalServerError) and self._attempt >= 3
        if failed or error.status == 400:
            # Either one of the items makes the server fail, or a proxy refuses every request.
            if len(items) > 1:
                return self._halve(items, str(error))
            self._put_off(items[0], str(error), known=self._delivered_at > items[0].since > 0)
            raise Away(error)
        if isinstance(error, (ServerError, RateLimitError, RequestTimeoutError)):
            seconds = parse_retry_after(error.headers or {}, time.time())
            raise Away(error, None if seconds is None else min(seconds, LONGEST_WAIT))
        if error.status == 409:
            raise Away(error)
        if error.status == 404 and items[0].action == UPDATE:
            self._put_off(items[0], str(error), known=True)
            return []
        raise Paused(error)

    def _halve(self, items: list[Item], reason: str) -> list[list[Item]]:
        if len(items) == 1:
            self._set_aside(items[0], reason)
            return []
        middle = len(items) // 2
        return [items[middle:], items[:middle]]

    # -- the end of a record -----------------------------------------------------------------------

    def _answered(self, items: Sequence[Item], *, duplicates: int = 0) -> None:
        self._count(sent=len(items), duplicates=duplicates)
        self._done(items)

    def _count(self, **more: int) -> None:
        counts = self.counts
        self.counts = counts._replace(**{k: getattr(counts, k) + n for k, n in more.items()})

    def _done(self, items: Sequence[Item]) -> None:
        done = set(map(id, items))
        self._due = [item for item in self._due if id(item) not in done]
        for item in items:
            del item.segment.open[item.start]
            item.segment.tally.answered += 1

    def _remember(self, reference_id: str, data_id: object) -> None:
        """Keep the ID of a log, for feedback on servers that don't know reference IDs."""
        if isinstance(data_id, str):
            self._ids[reference_id] = data_id
            if len(self._ids) > KNOWN_IDS:
                self._ids.popitem(last=False)

    def _name_by_id(self, item: Item) -> None:
        body = {**json.loads(item.data), "data_id": self._ids[item.names]}
        item.action, item.data = batches.FEEDBACK, json.dumps(body).encode()

    def _put_off(self, item: Item, reason: str, *, known: bool) -> None:
        """Hold an item back, or set it aside after HOLD_SECONDS.

        known: the item is known to be at fault, and not the server.
        """
        now = time.monotonic()
        if not item.tries:
            item.since = now
            logger.info("%s waits: %s", item.action, reason)
        item.tries += 1
        if known and now - item.since >= HOLD_SECONDS:
            self._set_aside(item, reason)
            return
        self._due = [each for each in self._due if each is not item]
        self._held.append(item)

    def _set_aside(self, item: Item, reason: str) -> None:
        """Put an item into the `.bad` file, with a warning."""
        self._write_bad(reason, action=item.action, body=item.data.decode("utf-8", "replace"))
        self._count(set_aside=1)
        self._done([item])
        logger.warning(
            "a record of the spool was refused, and is in %s now: %s %s: %s",
            self._directory.path / f"{self.writer.name}.bad",
            item.action,
            item.names,
            reason,
        )

    def _drop_damaged(self, segment: Segment, found: segments.Found) -> None:
        """Put damaged bytes into the `.bad` file, with a warning."""
        self._write_bad("damaged", bytes=b64encode(found.body).decode())
        self._count(set_aside=1)
        segment.tally.answered += 1
        logger.warning(
            "%s: damaged from byte %d to %d; the damaged bytes are in %s now",
            segment.path,
            found.start,
            found.end,
            self._directory.path / f"{self.writer.name}.bad",
        )

    def _write_bad(self, reason: str, **what: str) -> None:
        moment = datetime.now(timezone.utc).isoformat()
        line = json.dumps({"at": moment, "error": reason, **what}).encode() + b"\n"
        self._directory.set_aside(self.writer.name, line)

    def _settle(self) -> None:
        """Save the cursors; delete the segments without pending records."""
        for segment in self._adopted[:]:
            if segment.is_done():
                segment.close(remove=True)
                self._adopted.remove(segment)
            else:
                segment.save_cursor()
        for segment in self.writer.segments[:]:
            if not self.writer.remove(segment):
                segment.save_cursor()

    # -- waiting -----------------------------------------------------------------------------------

    def _wait_for(self, absence: Away) -> None:
        self._attempt += 1
        seconds = absence.seconds
        if seconds is None:
            seconds = max(0.05, self._policy.delay(self._attempt))
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        elif now - self._away_since > WARN_SECONDS:
            self._away_since = math.inf
            reason, place = _told(absence.error), self._directory.path
            logger.warning("%s; unsent records are kept in %s", reason, place)
        self._back_off(absence.error, seconds)

    def _back_off(self, error: Exception, seconds: float) -> float:
        self.state = "waiting"
        self.last_error = _told(error)
        self._retry_at = time.monotonic() + seconds
        return seconds

    def _pause(self, error: Exception) -> None:
        """Wait for PAUSE_SECONDS; warn if the reason is new."""
        told = self.last_error
        self._back_off(error, PAUSE_SECONDS)
        self.state = "paused"
        if told != self.last_error:
            logger.warning(
                "the spool in %s can't be sent for now, and nothing is lost: %s; the next try is in"
                " %d seconds",
                self._directory.path,
                self.last_error,
                PAUSE_SECONDS,
            )
        self._finish(anyway=True)

    def _finish(self, *, anyway: bool = False) -> None:
        """Tell the flushes that everything is sent, or can't be for now."""
        for flush in self._flushes[:]:
            if self._stopping or anyway or (flush.begun and not self.left):
                flush.done.set()
                self.forget(flush)


def _told(error: Exception) -> str:
    """Return an error's message without its second line, the hint, and without the full stop."""
    return str(error).partition("\n")[0].rstrip(".")


def _next_try(item: Item) -> float:
    """Return the time of the next try of an item that is held back."""
    return item.since + min(0.25 * 2.0**item.tries, HOLD_SECONDS)
