"""Append records to the segments of this process.

Invariants: when `append` returns, the record is in the file; when it raises, the record is never
sent, unless only bringing it to the disk has failed. Nothing waits for the network. A signal
handler may append while its thread is appending.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from humanloop.exceptions import SpoolError, SpoolFullError
from humanloop.forks import no_fork
from humanloop.spool import segments
from humanloop.spool.descriptors import Target, opened
from humanloop.spool.directory import Directory, Segment, Tally, new_writer
from humanloop.spool.options import SpoolOptions

__all__ = ["BATCH_BYTES", "BATCH_RECORDS", "Writer", "WriterClosed"]

BATCH_RECORDS = 100
BATCH_BYTES = 1024 * 1024
SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS = 32  # that a process may have, about
SYNC_SECONDS = 0.05
LOOK_SECONDS = 0.5
logger = logging.getLogger("humanloop.spool")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class WriterClosed(Exception):
    """The writer was closed meanwhile; the caller needs a new one."""


class Bell:
    """An event that a signal handler may set while it interrupts `set` in the same thread.

    An Event would hang then. A SimpleQueue would hang in CPython before 3.13 if a signal handler
    takes longer than what is left of a wait's time.
    """

    def __init__(self) -> None:
        self._is_clear = threading.Lock()
        self._is_clear.acquire()

    def set(self) -> None:
        """Wake the thread that waits, or the next one that will."""
        with contextlib.suppress(RuntimeError):  # it is set
            if self._is_clear.locked():
                self._is_clear.release()

    def clear(self) -> None:
        """Reset the event."""
        self._is_clear.acquire(blocking=False)

    def wait(self, seconds: float) -> None:
        """Return when the event is set, or after `seconds`, and reset it."""
        self._is_clear.acquire(timeout=max(0.0, seconds))


class Writer:
    """Writes the records of one process.

    others: the bytes in the directory outside this process's segments, at the last look. bell: set
    when there is enough to send, that is, when `written` reaches `ring_at`, which the sender sets.
    dropped, refused, blocked: see SpoolStats.

    Threads that log at the same time take no lock, except to change segments, which takes
    `no_fork`: if a thread lost the GIL while holding a lock, all others would wait for
    milliseconds. Instead,

    - one system call, `_write_now`, writes a record with the GIL held, so the next thread that has
      the GIL sees a whole record; O_APPEND puts it at the end of the file, wherever that is;
    - it writes to a `Target`, so that a segment may be ended while other threads write;
    - counts are attributes, and `+=` on them loses no update: CPython releases the GIL only at
      calls and jumps. If that ever changes, the counts are wrong by a few records.
    """

    def __init__(self, directory: Directory, options: SpoolOptions) -> None:
        self.name = new_writer()
        self.bell = Bell()
        self.segments: list[Segment] = []
        self.tally = Tally()
        self.others = 0
        self.is_closed = False
        self.ring_at = 1
        self.dropped = self.refused = self.blocked = 0
        self.options = options
        self._directory = directory
        self._target = Target()
        self._own = 0  # bytes of `segments`
        self._in_active = 0  # bytes of the last one
        self._unrung = 0  # bytes since the last ring
        self._active: Segment | None = None
        # Each segment needs a descriptor, so a large spool has larger ones.
        self._segment_bytes = max(
            min(SEGMENT_BYTES, options.max_bytes // 8), options.max_bytes // SEGMENTS
        )
        self._count = 0
        self._looked_at = 0.0
        self._syncer: threading.Thread | None = None
        self._syncs_each = options.durability == "fsync"
        # With the GIL held, write only to the system's memory, never to the disk.
        self._write_now = _writing() if options.durability == "process" else None

    def append(self, action: bytes, data: bytes) -> None:
        """Write one record; raises SpoolFullError, SpoolError, and WriterClosed."""
        record = segments.record(segments.body_of(action, data))
        size = len(record)
        if size > segments.RECORD_BYTES + segments.MAX_RECORD:
            raise SpoolError(
                f"a record of {size:,} bytes is longer than the {segments.MAX_RECORD:,} that spools"
                " and servers accept"
            )
        write = self._write_now
        segment: Segment | None = None
        if (
            write is None
            or self._in_active >= self._segment_bytes
            or self._own + self.others + size > self.options.max_bytes
        ):
            segment = self._append_alone(record)
        else:
            count = write(self._target.descriptor, record, size)
            if count != size:
                if count >= 0:
                    try:
                        self._take_back()
                    except OSError as error:
                        self._fail(error)
                segment = self._append_alone(record)
        self._own += size
        self._in_active += size
        self._unrung += size
        self.tally.written += 1
        if self.tally.written >= self.ring_at or self._unrung >= BATCH_BYTES:
            self._unrung = 0
            self.bell.set()
        if segment is not None and self.options.durability != "process":
            self._keep_safe(segment)

    def _append_alone(self, record: bytes) -> Segment:
        """Write a record while holding the lock: to a new segment, or after a failed write.

        A full spool is refused before: many threads may go on trying.
        """
        if self._own + self.others + len(record) > self.options.max_bytes:
            raise SpoolFullError(
                f"the spool in {self._directory.path} holds the"
                f" {self.options.max_bytes:,} bytes that max_bytes allows"
            )
        with no_fork.lock:
            if self.is_closed:
                raise WriterClosed
            try:
                self.abandon_closed()
                segment = self._active
                if segment is None or self._in_active >= self._segment_bytes:
                    segment = self._begin()
                if os.write(segment.file.descriptor, record) != len(record):
                    self._take_back()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                self._fail(error)
            return segment

    def _take_back(self) -> None:
        """Cut off a partly written record; the sender skips it if others have written after it."""
        with no_fork.lock:
            if (segment := self._active) is not None:
                segment.is_cut = True
                self._target.lead_to(None)
                segment.scan()
                if self._write_now is not None:
                    self._target.lead_to(segment.file)

    def _begin(self) -> Segment:
        """Begin a segment, and end the previous one; raises SpoolError and OSError."""
        self._directory.create()
        self._count += 1
        segment = self._directory.new_segment(f"{self.name}-{self._count:06d}", self.tally)
        segment.is_live = True
        self.segments.append(segment)
        self._own += segments.HEAD_BYTES
        if self.options.durability != "process":
            self._directory.sync()
        self._switch(segment)
        return segment

    def _keep_safe(self, segment: Segment) -> None:
        """Bring a segment's new record to the disk, or see that a thread will."""
        syncer = self._syncer
        if not self._syncs_each and (syncer is None or not syncer.is_alive()):
            try:
                self._syncer = syncer = threading.Thread(target=self._keep_syncing, daemon=True)
                # Others may be here, too, and a signal handler may raise: the last one made runs.
                syncer.start()
            except RuntimeError:  # the interpreter ends, or no more threads are allowed
                self._syncs_each = True
        if self._syncs_each:
            _sync_now(segment)

    def _switch(self, segment: Segment | None) -> None:
        if self._write_now is not None:
            self._target.lead_to(None if segment is None else segment.file)
        before, self._active = self._active, segment
        self._in_active = 0
        if before is not None:
            before.is_live = False

    def _fail(self, error: OSError) -> NoReturn:
        place = self._directory.path
        if error.errno in _NO_ROOM:
            raise SpoolFullError(f"there is no room for the spool in {place}") from error
        raise SpoolError(f"the spool in {place} can't be written: {error.strerror}") from error

    def remove(self, segment: Segment) -> bool:
        """Delete a segment if none of its records is pending; return whether it was deleted."""
        if not segment.is_done():
            return False
        with no_fork.tried() as is_taken:
            if not is_taken or not segment.is_done():  # its first record may have come meanwhile
                return False
            # A signal handler may have raised amid a switch, so the target itself is asked, too.
            if segment is self._active or self._target.leads_to(segment.file):
                self._switch(None)  # from now on, no thread writes to it
            if not segment.is_done():
                return False
            end = segment.end
            segment.close(remove=True)
            self.segments.remove(segment)
            self._own = self._own - end if self.segments else 0
            return True

    def abandon_changed(self) -> None:
        """Let the next record begin a new segment if somebody has changed the current file."""
        with no_fork.tried() as is_taken:
            segment = self._active
            if not is_taken or segment is None or segment.is_intact:
                return
            self._switch(None)
        logger.warning(
            "somebody has deleted, moved or shortened %s; its pending records are lost if this"
            " process ends before sending them",
            segment.path,
        )

    def abandon_closed(self) -> None:
        """Begin anew if somebody has closed the descriptors of the files, as daemons do.

        The files are orphans then, also for this process.
        """
        if not any(each.is_lost for each in self.segments[:]):
            return
        with no_fork.tried() as is_taken:
            if is_taken and any(each.is_lost for each in self.segments):
                self._switch(None)
                for segment in self.segments:
                    segment.close()
                self.segments, self._own = [], 0
                self.tally.read = self.tally.written
                self.name, self._count = new_writer(), 0

    def look_again(self) -> bool:
        """Look at the directory's size, unless that was just done; return whether it looked."""
        if time.monotonic() < self._looked_at + LOOK_SECONDS:
            return False
        self.look()
        return True

    def look(self) -> int:
        """Return the size of the directory in bytes, and update `others`."""
        self._looked_at = time.monotonic()
        used = self._directory.size()
        # In this order, records that are written meanwhile are never counted twice.
        self.others = max(0, used - self._own)
        return used

    def close(self) -> None:
        """Close all segments; those with pending records are left for other processes to adopt."""
        with no_fork.lock:
            self.is_closed = True
            self.abandon_closed()
            self._switch(None)
            for segment in self.segments:
                try:
                    segment.close(remove=segment.is_done())
                except OSError:  # it can't be deleted
                    segment.close()
            self.segments, self._own = [], 0

    def _keep_syncing(self) -> None:
        """Sync the segments to the disk every SYNC_SECONDS, until there are none."""
        if threading.current_thread() is not self._syncer:
            return  # another one was made meanwhile
        synced: dict[Path, int] = {}
        pause = threading.Event()
        while True:
            pause.wait(SYNC_SECONDS)
            with no_fork.lock:
                self.abandon_closed()
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


def _sync_now(segment: Segment) -> None:
    """Bring a segment to the disk; without the lock, so that threads can do it at once."""
    try:
        _sync_file(segment.path)
    except OSError as error:
        raise SpoolError(
            f"a record is in {segment.path}, and will be sent, but can't be brought to the disk:"
            f" {error.strerror}"
        ) from error


def _sync_file(path: Path) -> None:
    """Sync a file to the disk; one that is gone was acknowledged whole, or somebody deleted it."""
    # Not with the segment's descriptor or a copy of it: a fork's child would keep the lock.
    with contextlib.suppress(FileNotFoundError), opened(path, os.O_RDONLY) as descriptor:
        _sync(descriptor)


@functools.cache
def _writing() -> Callable[[int, bytes, int], int] | None:
    """Return the system's `write`, called with the GIL held; None where that is impossible."""
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
