"""Deliver the records of a writer, and of orphaned segments: read, send, and act on the answers.

A window of at most BATCH_RECORDS logs, BATCH_RECORDS pieces of feedback, and BATCH_BYTES is read
and sent. Acknowledged records leave the window, and the rest is sent in the next round. A record
about a log that the server does not know yet is held back, and does not delay the others.

Every request has `X-Retry-Count`, since the record may have been sent before: the server then
repeats its first answer. Invariants: a record is pending until the server has acknowledged it or it
is in a `.bad` file; memory is bounded, however many records are pending. One thread at a time calls
the methods; any thread may read the numbers, `segments`, `left`, `unread` and `held`.
"""

from __future__ import annotations

import json
import logging
import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Protocol, cast

from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    BadRequestError,
    InternalServerError,
    OpenApiException,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    SpoolError,
    UnprocessableEntityError,
)
from humanloop.retries import parse_retry_after
from humanloop.spool import batches
from humanloop.spool.batches import BY_REFERENCE, LOG, UPDATE, Item
from humanloop.spool.directory import ADOPTED, Directory, Segment
from humanloop.spool.segments import Found
from humanloop.spool.writer import BATCH_BYTES, BATCH_RECORDS, Writer

__all__ = ["Away", "Delivery", "Paused", "Server"]

logger = logging.getLogger("humanloop.spool")

HOLD_SECONDS = 60.0  # after its first refusal, a record is held back at most so long
HELD = 1000
KNOWN_IDS = 10_000
LONGEST_WAIT = 300.0  # the limit for Retry-After


class Server(Protocol):
    """The server, as the client reaches it."""

    def send(self, action: str, data: bytes, names: str, timeout: float | None) -> Any:
        """Send the body of an action, an array or an update; return the answer as plain data.

        names: the reference ID of the update's log; timeout: seconds; None: the client's.
        """

    def close(self) -> None:
        """Close the connections."""


class Away(Exception):
    """Nothing can be sent for now. seconds: until the next try; None: the policy's backoff."""

    def __init__(self, error: Exception, seconds: float | None = None) -> None:
        self.error = error
        self.seconds = seconds


class Paused(Exception):
    """The server refuses the client itself, so tries are rare."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Delivery:
    """The segments whose records this process sends, and the records of them that were read.

    sent, duplicates, set_aside: see SpoolStats. attempt: the number of tries since one succeeded;
    is_stopped: nothing more is to be sent; timeout: of a request, in seconds; None: the client's;
    adopted: the orphaned segments.
    """

    def __init__(self, writer: Writer, directory: Directory, server: Server) -> None:
        self.sent = self.duplicates = self.set_aside = 0
        self.attempt = 0
        self.is_stopped = False
        self.timeout: float | None = None
        self._writer = writer
        self._directory = directory
        self._server = server
        self.adopted: list[Segment] = []
        self._due: list[Item] = []
        self._held: list[Item] = []
        self._ids: OrderedDict[str, str] = OrderedDict()
        self._delivered_at = 0.0
        self._unwritten: OSError | None = None  # of a record that could not be set aside
        self._left_closed = 0  # pending records in the segments that were closed
        self._most = ADOPTED  # segments that are adopted at once
        self._reported: set[str] = set()

    # -- for any thread ----------------------------------------------------------------------------

    @property
    def segments(self) -> list[Segment]:
        """The segments, in the order of reading."""
        return [*self.adopted, *self._writer.segments]

    @property
    def left(self) -> int:
        """The number of pending records."""
        return self._left_closed + self.unread + sum(len(each.pending) for each in self.segments)

    @property
    def unread(self) -> int:
        """The number of unread records; it may be too high while one is being written."""
        adopted = sum(each.tally.unread([each]) for each in [*self.adopted])
        return adopted + self._writer.tally.unread([*self._writer.segments])

    @property
    def held(self) -> int:
        """The number of records that are held back."""
        return len(self._held)

    # -- segments ----------------------------------------------------------------------------------

    @property
    def can_adopt(self) -> bool:
        """False while enough orphaned segments are adopted already."""
        return len(self.adopted) < self._most

    def adopt(self) -> bool:
        """Look at the directory, and adopt orphaned segments, unless there are enough.

        Returns whether there are no others that can be adopted.
        """
        try:
            self.abandon_closed()
            self._writer.abandon_changed()
            if not self._writer.look():
                return True
            if not self.can_adopt:
                return False
            mine = {each.path.stem.rpartition("-")[0] for each in self.segments}
            room = self._most - len(self.adopted)
            adopted, is_whole, failures = self._directory.adopt({*mine, self._writer.name}, room)
        except (OSError, SpoolError) as error:  # this process's own records can be sent still
            self._report(str(error), "no records of ended processes can be found: %s", error)
            return True
        self.adopted += adopted
        if not is_whole and len(adopted) < room:
            self._most = max(1, len(self.adopted))  # the program needs the other descriptors
        if count := sum(each.tally.written for each in adopted):
            logger.info("sending %d records that ended processes left", count)
        self.settle()
        for path in self._directory.unreadable():
            self._report(path.name, "this version can't read the segment %s, and leaves it", path)
        for writer, failure in failures.items():
            place = self._directory.path / writer
            self._report(writer, "%s, left by an ended process: %s", place, failure.strerror)
        return is_whole

    def _report(self, name: str, message: str, *values: object) -> None:
        if name not in self._reported:
            self._reported.add(name)
            logger.warning(message, *values)

    def abandon_closed(self) -> None:
        """Leave the segments whose descriptors somebody has closed; they are orphans then."""
        self._writer.abandon_closed()
        for segment in self.adopted[:]:
            if segment.is_lost:
                segment.close()
                self.adopted.remove(segment)
        mine = set(map(id, self.segments))
        self._due = [item for item in self._due if id(item.segment) in mine]
        self._held = [item for item in self._held if id(item.segment) in mine]

    def settle(self) -> None:
        """Save the cursors; delete the segments without pending records."""
        for segment in self.segments:
            try:
                self._settle(segment)
            except OSError as error:
                if segment.is_lost:
                    raise
                path = segment.path  # another start may send it again, which does no harm
                self._report(path.name, "%s can't be updated: %s", path, error.strerror)

    def _settle(self, segment: Segment) -> None:
        if segment not in self.adopted:
            is_removed = self._writer.remove(segment)
        elif is_removed := segment.is_done():
            segment.close(remove=True)
            self.adopted.remove(segment)
        if not is_removed:
            segment.save_cursor()

    def close(self) -> None:
        """Release the locks of all files; other processes adopt the pending records."""
        self._left_closed = self.left
        for segment in self.adopted:
            segment.close()
        self.adopted, self._due, self._held = [], [], []
        self._writer.close()

    # -- the window --------------------------------------------------------------------------------

    @property
    def has_window(self) -> bool:
        """True if records were read that are not yet answered or held back."""
        return bool(self._due)

    def is_full(self) -> bool:
        """Return whether there are enough unread records for a batch."""
        return (
            self.unread >= BATCH_RECORDS
            or sum(each.end - each.position for each in self.segments) >= BATCH_BYTES
        )

    def has_held(self, now: float) -> bool:
        """Return whether it is time for another try of a record that is held back."""
        return any(now >= _next_try(item) for item in self._held)

    def next_held(self) -> float | None:
        """Return the time of the next try of a record that is held back; None: there is none."""
        return min(map(_next_try, self._held), default=None)

    def read(self, now: float) -> bool:
        """Read the next window; return False if there is nothing that can be read for now.

        Feedback beyond its share, or while many records are held back, keeps only its own segment:
        it may wait for a log in another one.
        """
        self._due = [item for item in self._held if now >= _next_try(item)]
        self._held = [item for item in self._held if now < _next_try(item)]
        progress = bool(self._due)
        logs = 0 if len(self._held) < 2 * HELD else BATCH_RECORDS
        others = 0 if len(self._held) < HELD else BATCH_RECORDS
        size = 0
        for segment in self.segments:
            while logs < BATCH_RECORDS and size < BATCH_BYTES:
                found = self._next(segment)
                if found is None:
                    break
                if found.kind == "record":
                    item = batches.item_of(segment, found.start, found.body)
                    if item.action != LOG and others >= BATCH_RECORDS:
                        break
                    segment.pending[found.start] = None
                    self._due.append(item)
                    logs += item.action == LOG
                    others += item.action != LOG
                elif found.kind == "damaged" and not segment.is_cut:
                    self._drop_damaged(segment, found)
                size += len(found.body)
                segment.position = found.end
                segment.tally.read += found.kind == "record" or not segment.is_cut
                progress = True
        return progress

    def _next(self, segment: Segment) -> Found | None:
        """Return what is next in a segment; None: nothing, or it can't be read."""
        try:
            return segment.next()
        except OSError as error:
            if segment.is_lost:
                raise
            self._report(segment.path.name, "%s can't be read: %s", segment.path, error.strerror)
            return None

    def deliver(self) -> None:
        """Send the window; raises Away, Paused and OSError."""
        for some in batches.in_order(self._due):
            pending = [some]
            while pending and not self.is_stopped:
                pending += self._try(pending.pop())
        self.attempt = 0
        if (error := self._unwritten) is not None:
            self._unwritten = None
            raise error

    def _try(self, items: list[Item]) -> list[list[Item]]:
        """Send a batch; return the batches to be sent next, the first of them at the end."""
        action = items[0].action
        if action not in batches.ACTIONS:
            for item in items:
                self._set_aside(item, "written by a later version, or not the JSON of a request")
            return []
        try:
            answers = self._server.send(
                action, batches.body_of(items), items[0].names, self.timeout
            )
        except (UnprocessableEntityError, BadRequestError) as error:
            return self._part(items, error)
        except ApiException as error:
            return self._react(items, error)
        except ApiConnectionError as error:
            raise Away(error) from error
        except OpenApiException as error:
            raise Paused(error) from error
        for item, answer in zip(items, _objects(answers, items), strict=True):
            if action == LOG:
                self._remember(item.names, answer.get("id"))
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
        failed = isinstance(error, InternalServerError) and self.attempt >= 3
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
        self._done(items)  # first, so that no thread sees an acknowledged record that is pending
        self.sent += len(items)
        self.duplicates += duplicates

    def _done(self, items: Sequence[Item]) -> None:
        done = set(map(id, items))
        self._due = [item for item in self._due if id(item) not in done]
        for item in items:
            item.segment.pending.pop(item.start, None)

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
        try:
            self._write_bad(reason, action=item.action, body=item.data.decode("utf-8", "replace"))
        except OSError as error:  # such as a full disk: the others are sent, which makes room
            self._unwritten = error
            self._put_off(item, reason, known=False)
            return
        self._done([item])
        self.set_aside += 1
        logger.warning(
            "a record of the spool was refused, and is in %s now: %s %s: %s",
            self._directory.path / f"{self._writer.name}.bad",
            item.action,
            item.names,
            reason,
        )

    def _drop_damaged(self, segment: Segment, found: Found) -> None:
        """Put damaged bytes into the `.bad` file, with a warning."""
        self._write_bad("damaged", bytes=b64encode(found.body).decode())
        self.set_aside += 1
        logger.warning(
            "%s: damaged from byte %d to %d; the damaged bytes are in %s now",
            segment.path,
            found.start,
            found.end,
            self._directory.path / f"{self._writer.name}.bad",
        )

    def _write_bad(self, reason: str, **what: str) -> None:
        moment = datetime.now(timezone.utc).isoformat()
        line = json.dumps({"at": moment, "error": reason, **what}).encode() + b"\n"
        self._directory.set_aside(self._writer.name, line)


def _objects(answers: object, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return an answer's entries, one for each item; raises Paused if they are not the API's."""
    entries = cast("list[object]", answers) if isinstance(answers, list) else []
    objects = [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]
    if items[0].action == LOG:
        objects = [entry for entry in objects if "id" in entry]
    if not len(entries) == len(objects) == len(items):
        raise Paused(ValueError("the answer is not the API's, which has one object for each item"))
    return objects


def _next_try(item: Item) -> float:
    """Return the time of the next try of an item that is held back."""
    return item.since + min(0.25 * 2.0 ** min(item.tries, 10), HOLD_SECONDS)
