"""Append records to the segments of this process.

Invariants: a record is in the file when `append` returns, and never sent when that has raised;
nothing waits for the network; a signal handler may append while its thread does.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NoReturn

from humanloop.exceptions import SpoolError, SpoolFullError
from humanloop.spool import segments
from humanloop.spool.directory import Directory, Segment, Tally, Target, new_writer
from humanloop.spool.options import SpoolOptions

__all__ = ["BATCH_BYTES", "BATCH_RECORDS", "Writer", "WriterClosed"]

BATCH_RECORDS = 100
BATCH_BYTES = 1024 * 1024
SEGMENT_BYTES = 8 * 1024 * 1024
SYNC_SECONDS = 0.05
LOOK_SECONDS = 0.5
logger = logging.getLogger("humanloop.spool")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_sync = getattr(os, "fdatasync", os.fsync)  # which macOS lacks


class WriterClosed(Exception):
    """The writer was closed meanwhile; another one is needed."""


class Bell:
    """An event that a signal handler may set while its thread does: there, an Event would hang.

    Source: the documentation of queue.SimpleQueue, whose `put` may be interrupted by another one.
    """

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Wake whoever waits, now or next."""
        if self._rung.empty():
            self._rung.put(None)

    def clear(self) -> None:
        """Forget that it was set."""
        with contextlib.suppress(Empty):
            while True:
                self._rung.get_nowait()

    def wait(self, seconds: float) -> None:
        """Return when it is set, or after so long; it is not set then."""
        with contextlib.suppress(Empty):
            self._rung.get(timeout=max(0.0, seconds))


class Writer:
    """Writes the records of one process.

    others: bytes of the directory beside this process's segments, as they were last looked at.
    bell: set when there is enough for the sender, which says by `ring_at` how many records, of all
    that were written, that is.

    Threads that log at once take no lock, unless something has to be changed: a thread that loses
    the GIL while it holds one lets all others wait for it, for milliseconds. In its place,

    - a record is written by one call of the system with the GIL held, `_write_now`, so that it is
      whole for whoever has the GIL next; it goes to the end (O_APPEND), wherever that is;
    - it goes to a `Target`, so that a segment may be ended while others write;
    - counts are attributes of which `+=` loses no update: CPython gives the GIL away only at calls
      and jumps. Should it ever be otherwise, they are a few records off.
    """

    def __init__(self, directory: Directory, options: SpoolOptions) -> None:
        self.name = new_writer()
        self.lock = threading.RLock()  # which a signal handler may take again
        self.bell = Bell()
        self.segments: list[Segment] = []
        self.tally = Tally()
        self.others = 0
        self.is_closed = False
        self.ring_at = 1
        self._directory = directory
        self._options = options
        self._target = Target()
        self._own = 0  # bytes of `segments`
        self._in_active = 0  # bytes of the last one
        self._unrung = 0  # bytes since the last ring
        self._active: Segment | None = None
        self._segment_bytes = min(SEGMENT_BYTES, options.max_bytes // 8)
        self._count = 0
        self._looked_at = 0.0
        self._syncer: threading.Thread | None = None
        # Only the system's memory is written to with the GIL held, never the disk.
        self._write_now = _writing() if options.durability == "process" else None

    @property
    def written(self) -> int:
        """Return how many records were written."""
        return self.tally.written

    def append(self, action: bytes, data: bytes) -> None:
        """Write one record; raises SpoolFullError, SpoolError, and WriterClosed."""
        record = segments.record(segments.body_of(action, data))
        size = len(record)
        if size > segments.RECORD_BYTES + segments.MAX_RECORD:
            raise SpoolError(
                f"a record of {size:,} bytes is longer than the {segments.MAX_RECORD:,} that spools"
                " and servers take"
            )
        write = self._write_now
        if (
            write is None
            or self._in_active >= self._segment_bytes
            or self._own + self.others + size > self._options.max_bytes
        ):
            self._append_alone(record)
        else:
            count = write(self._target.descriptor, record, size)
            if count != size:
                if count >= 0:
                    self._take_back()
                self._append_alone(record)
        self._own += size
        self._in_active += size
        self._unrung += size
        self.tally.written += 1
        if self.tally.written >= self.ring_at or self._unrung >= BATCH_BYTES:
            self._unrung = 0
            self.bell.set()

    def _append_alone(self, record: bytes) -> None:
        """Write a record with the lock: to a new segment, or where the call above has failed."""
        with self.lock:
            if self.is_closed:
                raise WriterClosed
            if self._own + self.others + len(record) > self._options.max_bytes:
                raise SpoolFullError(
                    f"the spool in {self._directory.path} holds the"
                    f" {self._options.max_bytes:,} bytes that max_bytes allows"
                )
            segment = self._active
            if segment is None or self._in_active >= self._segment_bytes:
                segment = self._begin()
            end = segment.end
            try:
                if os.write(segment.descriptor, record) != len(record):
                    self._take_back()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if self._options.durability == "fsync":
                    _sync(segment.descriptor)
            except OSError as error:
                if self._options.durability == "fsync":
                    os.ftruncate(segment.descriptor, end)  # nobody writes without the lock then
                self._fail(error)

    def _take_back(self) -> None:
        """Cut a record that was written in part; others may have written after it."""
        with self.lock:
            if (segment := self._active) is not None:
                segment.is_cut = True
                self._target.lead_to(None)
                segment.scan()
                if self._write_now is not None:
                    self._target.lead_to(segment)

    def _begin(self) -> Segment:
        """Begin a segment, and end the one before."""
        self._directory.create()
        self._count += 1
        try:
            segment = self._directory.new_segment(f"{self.name}-{self._count:06d}", self.tally)
            if self._options.durability != "process":
                self._directory.sync()
        except OSError as error:
            self._fail(error)
        segment.is_live = True
        self.segments.append(segment)
        self._switch(segment)
        self._own += segments.HEAD_BYTES
        if self._options.durability == "interval" and self._syncer is None:
            self._syncer = threading.Thread(target=self._keep_syncing, daemon=True)
            self._syncer.start()
        return segment

    def _switch(self, segment: Segment | None) -> None:
        before, self._active = self._active, segment
        if self._write_now is not None:
            self._target.lead_to(segment)
        self._in_active = 0
        if before is not None:
            before.is_live = False

    def _fail(self, error: OSError) -> NoReturn:
        place = self._directory.path
        if error.errno in _NO_ROOM:
            raise SpoolFullError(f"there is no room for the spool in {place}") from error
        raise SpoolError(f"the spool in {place} can't be written: {error.strerror}") from error

    def remove(self, segment: Segment) -> bool:
        """Delete a segment that is done with, unless more has come; tell whether it was."""
        if not segment.is_done():
            return False
        with self.lock:
            if segment is self._active:
                self._switch(None)  # from here on nothing more comes
            if not segment.is_done():
                return False
            self.segments.remove(segment)
            self._own = self._own - segment.end if self.segments else 0
            segment.close(remove=True)
            return True

    def leave_deleted(self) -> None:
        """Begin a new segment with the next record if the file of the last one was deleted."""
        with self.lock:
            if self._active is None or not self._active.is_deleted:
                return
            self._switch(None)
        logger.warning(
            "somebody has deleted the spool in %s; what was in it is lost if this process ends"
            " before it is sent",
            self._directory.path,
        )

    def look_again(self) -> bool:
        """Look how much others have in the directory, unless that was just done; tell whether."""
        if time.monotonic() < self._looked_at + LOOK_SECONDS:
            return False
        self.look()
        return True

    def look(self) -> int:
        """Look how much is in the directory; return it."""
        self._looked_at = time.monotonic()
        used = self._directory.size()
        # What is written meanwhile counts as this process's: only this order never counts it twice.
        self.others = max(0, used - self._own)
        return used

    def close(self) -> None:
        """Close all segments; those with records in them are left to whoever comes."""
        with self.lock:
            self.is_closed = True
            self._switch(None)
            for segment in self.segments:
                segment.close(remove=segment.is_done())
            self.segments, self._own = [], 0

    def _keep_syncing(self) -> None:
        """Bring to the disk what was written, every SYNC_SECONDS, while there are segments."""
        synced: dict[Path, int] = {}
        pause = threading.Event()
        while True:
            pause.wait(SYNC_SECONDS)
            with self.lock:
                sizes = {each.path: each.end for each in self.segments}
                if not sizes:
                    self._syncer = None
                    return
            for path in [path for path, size in sizes.items() if synced.get(path) != size]:
                try:
                    _sync_file(path)
                except OSError as error:
                    logger.warning("the spool's file %s can't be synced: %s", path, error.strerror)
            synced = sizes


def _sync_file(path: Path) -> None:
    """Bring a file to the disk, unless it is gone: then all of it was answered."""
    with contextlib.suppress(FileNotFoundError):
        # Not by the segment's descriptor, nor a copy of it: a fork's child would keep the lock.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)


def _writing() -> Callable[[int, bytes, int], int] | None:
    """Return the system's `write`, called with the GIL held; None where that can't be."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    try:
        import ctypes

        write = ctypes.PyDLL(None).write
    except (ImportError, OSError, AttributeError):
        return None
    write.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    write.restype = ctypes.c_ssize_t
    return write
