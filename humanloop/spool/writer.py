"""Append records to the segments of this process.

Invariants: a record is in the file whole or not at all, whatever fails, and is there when `append`
returns; nothing waits for the network; a signal handler may append while its thread does.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from pathlib import Path
from typing import NoReturn

from humanloop.exceptions import SpoolError, SpoolFullError
from humanloop.spool import segments
from humanloop.spool.directory import Directory, Segment, new_writer
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


class Writer:
    """Writes the records of one process.

    others: bytes of the directory beside this process's segments, as they were last looked at.
    bell: set when there is enough for the sender, which says by `ring_at` how many records, of all
    that were written, that is.
    """

    def __init__(self, directory: Directory, options: SpoolOptions) -> None:
        self.name = new_writer()
        self.lock = threading.RLock()  # which a signal handler may take again
        self.bell = threading.Event()
        self.segments: list[Segment] = []
        self.others = 0
        self.written = 0
        self.is_closed = False
        self.ring_at = 1
        self._directory = directory
        self._options = options
        self._own = 0  # bytes of `segments`
        self._part = 0  # bytes since the last ring
        self._active: Segment | None = None
        self._segment_bytes = min(SEGMENT_BYTES, options.max_bytes // 8)
        self._count = 0
        self._looked_at = 0.0
        self._syncer: threading.Thread | None = None

    def append(self, action: bytes, data: bytes) -> None:
        """Write one record; raises SpoolFullError, SpoolError, and WriterClosed."""
        record = segments.record(segments.body_of(action, data))
        size = len(record)
        with self.lock:
            if self.is_closed:
                raise WriterClosed
            if self._own + self.others + size > self._options.max_bytes:
                raise SpoolFullError(
                    f"the spool in {self._directory.path} holds the"
                    f" {self._options.max_bytes:,} bytes that max_bytes allows"
                )
            segment = self._active
            if segment is None or segment.size >= self._segment_bytes:
                segment = self._begin()
            try:
                count = os.write(segment.descriptor, record)
            except OSError as error:
                self._fail(error)
            if count != size:
                # No reader has come this far: `segment.size` is still where it was.
                os.ftruncate(segment.descriptor, segment.size)
                self._fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            if self._options.durability == "fsync":
                self._sync_or_take_back(segment)
            segment.size += size
            segment.written += 1
            self._own += size
            self._part += size
            self.written += 1
            if self.written >= self.ring_at or self._part >= BATCH_BYTES:
                self._part = 0
                self.bell.set()

    def _begin(self) -> Segment:
        """Begin a segment."""
        self._directory.create()
        self._count += 1
        try:
            segment = self._directory.new_segment(f"{self.name}-{self._count:06d}")
            if self._options.durability != "process":
                self._directory.sync()
        except OSError as error:
            self._fail(error)
        self._own += segment.size
        self.segments.append(segment)
        self._active = segment
        if self._options.durability == "interval" and self._syncer is None:
            self._syncer = threading.Thread(target=self._keep_syncing, daemon=True)
            self._syncer.start()
        return segment

    def _sync_or_take_back(self, segment: Segment) -> None:
        try:
            _sync(segment.descriptor)
        except OSError as error:
            os.ftruncate(segment.descriptor, segment.size)
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        place = self._directory.path
        if error.errno in _NO_ROOM:
            raise SpoolFullError(f"there is no room for the spool in {place}") from error
        raise SpoolError(f"the spool in {place} can't be written: {error.strerror}") from error

    def remove(self, segment: Segment) -> bool:
        """Delete a segment of which all is answered, unless more has come; tell whether it was."""
        with self.lock:
            if segment.position < segment.size:
                return False
            if segment is self._active:
                self._active = None
            self.segments.remove(segment)
            self._own -= segment.size
            segment.close(remove=True)
            return True

    def look_again(self) -> bool:
        """Look how much others have in the directory, unless that was just done; tell whether."""
        if time.monotonic() < self._looked_at + LOOK_SECONDS:
            return False
        self.look()
        return True

    def look(self) -> int:
        """Look how much is in the directory; return it."""
        self._looked_at = time.monotonic()
        own = self._own
        used = self._directory.bytes()
        self.others = max(0, used - own)
        return used

    def close(self) -> None:
        """Close all segments; those with records in them are left to whoever comes."""
        with self.lock:
            for segment in self.segments:
                segment.close(remove=not segment.left)
            self.segments, self._active, self._own = [], None, 0
            self.is_closed = True

    def _keep_syncing(self) -> None:
        """Bring to the disk what was written, every SYNC_SECONDS, while there are segments."""
        synced: dict[Path, int] = {}
        pause = threading.Event()
        while True:
            pause.wait(SYNC_SECONDS)
            with self.lock:
                sizes = {each.path: each.size for each in self.segments}
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
