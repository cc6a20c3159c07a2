"""The files of one account's spool: segments with locks, and `.bad` files.

A process writes its own segments, `WRITER-000001.spool` and so on, and holds a lock (flock) on each
for as long as it lives. A segment whose lock is free is orphaned, and is adopted by the first
process that locks it. The segments of one writer are adopted together, and locked in order, since
feedback in a later one may be about a log in an earlier one. `WRITER.bad` holds the records that
were set aside, a JSON object on each line.

Invariants: a file gets its head and its lock before its name; directories are 0700 and files 0600.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from humanloop.exceptions import SpoolError
from humanloop.forks import no_fork
from humanloop.spool import segments
from humanloop.spool.descriptors import GONE, OpenFile, opened
from humanloop.spool.options import ENVIRONMENT

if sys.platform != "win32":
    import fcntl

__all__ = [
    "ADOPTED",
    "BAD",
    "Account",
    "Adoption",
    "Directory",
    "Segment",
    "Tally",
    "new_writer",
]

SPOOL, NEW, BAD = ".spool", ".new", ".bad"
_OPEN = os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW_SECONDS = 60.0  # a file that has no name after this time was left by a dead process

ADOPTED = 64  # segments that are adopted at once: a process may open only so many files
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


class Tally:
    """The number of written records, and of those that were read."""

    def __init__(self) -> None:
        self.written = 0
        self.read = 0

    def unread(self, segments: Iterable[Segment]) -> int:
        """Return the number of unread records in segments, which are all that have this tally.

        The files say whether there are any: a signal handler may raise after a record was written
        and before it was counted.
        """
        if any(each.has_unread for each in segments):
            return max(1, self.written - self.read)
        return 0


class Segment:
    """An open file of records, whose lock this process holds.

    position: the end of the records that were read; pending: the positions of the pending ones
    among them. is_live: this process still writes to it; is_cut: a write to it has failed half-way.

    Each use raises OSError if somebody has closed the descriptor.
    """

    def __init__(self, path: Path, file: OpenFile, cursor: int, tally: Tally) -> None:
        self.path = path
        self.file = file
        self.position = self.cursor = cursor
        self.tally = tally
        self.pending: dict[int, None] = {}
        self.is_live = self.is_cut = False
        self._has_head = True
        self._scanned = 0

    @property
    def end(self) -> int:
        """The length of the file; the last record of a live one may not be whole yet."""
        return self.file.size

    @property
    def is_lost(self) -> bool:
        """True if somebody has closed the descriptor."""
        return not self.file.is_open

    @property
    def is_intact(self) -> bool:
        """False if somebody has deleted, moved or shortened the file."""
        return self.end >= self.position and self.file.is_at(self.path)

    @property
    def has_unread(self) -> bool:
        """True if there is more after `position`; for any thread, so False for a closed file."""
        try:
            return self.position != self.end  # it is beyond the end if the file was shortened
        except OSError:
            return False

    @property
    def pending_from(self) -> int:
        """The position before which no record is pending."""
        return min(self.position, min(self.pending, default=self.position))

    def is_done(self) -> bool:
        """Return whether no record is pending."""
        return not self.pending and self.position == self.end

    def is_sent(self, end: int) -> bool:
        """Return whether no record before a position is pending."""
        try:
            return self.position <= self.end and self.pending_from >= min(end, self.end)
        except OSError:
            return True  # it is closed, which only happens when it is done, or left to others

    def read(self, position: int, length: int) -> bytes:
        """Return `length` bytes from a position; fewer at the end of the file."""
        return os.pread(self.file.descriptor, length, position)

    def next(self) -> segments.Found | None:
        """Return the content at `position`; None: nothing yet."""
        end = self.end
        if end < self.position:  # somebody has shortened it: what was sent is recognised
            head = self.read(0, segments.HEAD_BYTES)
            self._has_head = segments.read_head(head, end) is not None
            self.position = segments.HEAD_BYTES if self._has_head else 0
        found = segments.find_next(self.read, self.position, end)
        return None if found is not None and found.kind == "torn" and self.is_live else found

    def scan(self) -> int:
        """Cut off an incomplete end; return the number of records since the last scan."""
        end = self.end
        start = max(self.position, self._scanned)
        count, self._scanned = segments.count(self.read, start, end)
        if self._scanned < end:
            os.ftruncate(self.file.descriptor, self._scanned)
        return count

    def save_cursor(self) -> None:
        """Write the position up to which no record is pending."""
        cursor = self.pending_from
        if cursor == self.cursor or self.position > self.end or not self._has_head:
            return
        # With another descriptor: the segment's own one only appends.
        flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
        # Suppressed if somebody has deleted the whole spool.
        with contextlib.suppress(*GONE), opened(self.path, flags) as descriptor:
            if self.file.has(descriptor):
                os.pwrite(descriptor, segments.head(cursor), 0)
            self.cursor = cursor

    def close(self, *, remove: bool = False) -> None:
        """Close the file and release its lock; remove: delete it first."""
        if remove and self.file.is_open:
            with contextlib.suppress(*GONE):
                if self.file.is_at(self.path):  # somebody may have put another file there
                    self.path.unlink()
        self.file.close()


class Account(NamedTuple):
    """The content of an account's directory, for `humanloop spool status`.

    left: the number of pending records; in_use: of these, the ones of living processes; set_aside:
    the records in `.bad` files; bytes: the size of all files; oldest: when the oldest file with
    pending records was begun, in seconds since 1970.
    """

    name: str
    left: int
    in_use: int
    set_aside: int
    bytes: int
    oldest: float | None


class Adoption(NamedTuple):
    """Orphaned segments that this process has locked.

    is_whole: there are no others that can be opened; failures: the writers whose segments can't be.
    """

    segments: list[Segment]
    is_whole: bool
    failures: dict[str, OSError]


class Directory:
    """The directory of one account."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the directory, for its owner alone; raises SpoolError."""
        if sys.platform == "win32":
            raise SpoolError(
                "this system has no file locks that a spool can use (fcntl); call log() instead"
            )
        try:
            missing = [each for each in (self.path, *self.path.parents) if not each.is_dir()]
            for each in reversed(missing):
                each.mkdir(0o700, exist_ok=True)
                each.chmod(0o700)  # mkdir's mode is reduced by the umask
            status = os.lstat(self.path)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise SpoolError(f"{self.path} is not a directory that this user owns")
            if status.st_mode & 0o077:
                self.path.chmod(0o700)
        except OSError as error:
            raise SpoolError(
                f"no spool can be kept in {self.path}: {error.strerror}; for another place pass"
                f" spool=PATH, or set {ENVIRONMENT}"
            ) from error

    def new_segment(self, name: str, tally: Tally) -> Segment:
        """Create, lock and return a segment; raises OSError."""
        path, final = self.path / f"{name}{NEW}", self.path / f"{name}{SPOOL}"
        with no_fork.lock:
            file = OpenFile(os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600))
            segment = Segment(final, file, segments.HEAD_BYTES, tally)
            try:
                os.fchmod(file.descriptor, 0o600)  # the mode of `open` is reduced by the umask
                fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.write(file.descriptor, segments.head()) != segments.HEAD_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.rename(path, final)
            except BaseException:
                with contextlib.suppress(OSError):
                    path.unlink()
                segment.close()
                raise
        return segment

    def sync(self) -> None:
        """Sync the directory, so that the names of its files survive a crash of the system."""
        with opened(self.path, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)

    def writers(self) -> dict[str, list[Path]]:
        """Return the segments of each writer, oldest first."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self._files(SPOOL)):
            found.setdefault(path.stem.rpartition("-")[0], []).append(path)
        return found

    def adopt(self, besides: Iterable[str] = (), most: int = ADOPTED) -> Adoption:
        """Lock orphaned segments, until there are `most` or too few descriptors.

        besides: writers to leave out. Raises OSError if the directory can't be read.
        """
        self._clean()
        adopted: list[list[Segment]] = []  # by writer
        failures: dict[str, OSError] = {}
        is_whole = True
        for writer, paths in self.writers().items():
            if writer in besides:
                continue
            if sum(map(len, adopted)) >= most:
                is_whole = False
                break
            try:
                if found := self._adopt(paths):
                    adopted.append(found)
            except OSError as error:
                if error.errno in _TOO_MANY and len(adopted) > 1:
                    half = len(adopted) // 2  # sending needs descriptors, too
                    _release(chain(*adopted[half:]))
                    del adopted[half:]
                    is_whole = False
                    break
                failures[writer] = error
                if error.errno in _TOO_MANY:
                    break
        return Adoption([*chain(*adopted)], is_whole, failures)

    def orphans(self) -> Iterator[list[Segment]]:
        """Lock and yield all orphaned segments, some at a time; at last raises OSError for others.

        The caller deletes or moves the files, or the next ones would be the same.
        """
        is_whole, failures = False, dict[str, OSError]()
        while not is_whole:
            adopted, is_whole, failures = self.adopt()
            yield adopted
        for error in failures.values():
            raise error

    def _adopt(self, paths: Iterable[Path]) -> list[Segment]:
        """Lock the segments of one writer, in order; return none unless all are free."""
        adopted: list[Segment] = []
        try:
            for path in paths:
                file = _lock(path)
                if file is None:
                    break
                segment = _adopted(path, file)
                if segment is not None:
                    adopted.append(segment)
            else:
                return adopted
        except BaseException:
            _release(adopted)
            raise
        _release(adopted)
        return []

    def unreadable(self) -> list[Path]:
        """Return the segments that this version can't read, and what is no file."""
        return [
            Path(entry.path)
            for entry in self._entries()
            if entry.name.endswith(SPOOL) and not (_is_file(entry) and _is_readable(entry.path))
        ]

    def exists(self) -> bool:
        """Return whether the directory exists; raises SpoolError if that can't be seen."""
        with self._read():
            return self.path.exists()

    def size(self) -> int:
        """Return the size of all files, in bytes; raises SpoolError if that can't be seen."""
        with self._read():
            return sum(_size(path) for path in self._files())

    def set_aside(self, writer: str, line: bytes) -> None:
        """Append a line to the writer's `.bad` file, whole or not at all; raises OSError."""
        with _exclusive(self.path / f"{writer}{BAD}") as descriptor:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(descriptor, size)
                raise

    def bad(self) -> list[Path]:
        """Return the `.bad` files, oldest first."""
        return sorted(self._files(BAD))

    def drop_bad(self) -> int:
        """Delete the `.bad` files; return the number of their records."""
        count = 0
        for path in self.bad():
            with _exclusive(path) as descriptor, open(descriptor, "rb", closefd=False) as lines:
                count += sum(1 for _ in lines)
                path.unlink()
        return count

    def put_back(self, write: Callable[[bytes, bytes], None]) -> tuple[int, int]:
        """Move the refused records from the `.bad` files to `write`, which gets action and JSON.

        Returns the number of records that were put back, and of damaged ones, which stay. If the
        process ends in between, records are in both places, and the server recognises duplicates.
        Raises OSError and the errors of `write`.
        """
        count = damaged = 0
        for path in self.bad():
            stay: list[bytes] = []
            with _exclusive(path) as descriptor, open(descriptor, "rb", closefd=False) as lines:
                for line in lines:
                    record = _refused(line)
                    if record is None:
                        stay.append(line)
                    else:
                        write(*record)
                        count += 1
                if not stay:
                    path.unlink()
                elif count:
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, b"".join(stay))
            damaged += len(stay)
        return count, damaged

    def move_to(self, other: Directory) -> int:
        """Move the orphaned segments to another account; return the number of their records.

        Raises OSError and SpoolError.
        """
        other.create()
        moved = 0
        for adopted in self.orphans():
            for segment in adopted:
                segment.path.rename(other.path / segment.path.name)
            for segment in adopted:  # only now, since the segments of one writer belong together
                segment.close()
            moved += sum(each.tally.written for each in adopted)
        return moved

    def look(self) -> Account:
        """Return the directory's content; changes nothing."""
        left = in_use = 0
        oldest: float | None = None
        for path in sorted(self._files(SPOOL)):
            count, locked = _look(path)
            left += count
            in_use += count if locked else 0
            if count and oldest is None:
                with contextlib.suppress(ValueError):  # a copy by somebody, with another name
                    oldest = int(path.stem.partition("-")[0], 16) / 1e9
        lines = 0
        for path in self.bad():
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                lines += sum(1 for _ in file)
        return Account(self.path.name, left, in_use, lines, self.size(), oldest)

    def _files(self, *suffixes: str) -> Iterator[Path]:
        for entry in self._entries():
            if (not suffixes or entry.name.endswith(suffixes)) and _is_file(entry):
                yield Path(entry.path)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(*GONE), os.scandir(self.path) as entries:
            yield from entries

    @contextlib.contextmanager
    def _read(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            raise SpoolError(f"the spool in {self.path} can't be read: {error.strerror}") from error

    def _clean(self) -> None:
        """Delete the files of processes that died before naming them."""
        for path in self._files(NEW):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _NEW_SECONDS:
                    path.unlink()


def new_writer() -> str:
    """Return the name of a new writer; names sort by the time of their creation."""
    return f"{time.time_ns():016x}-{os.getpid()}-{os.urandom(4).hex()}"


def _lock(path: Path) -> OpenFile | None:
    """Return a locked file; None: another process has the lock, or the file is gone."""
    with no_fork.tried():
        try:
            file = OpenFile(os.open(path, _OPEN))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.is_at(path):  # otherwise it was sent and deleted meanwhile
                return file
        except BlockingIOError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
        return None


def _adopted(path: Path, file: OpenFile) -> Segment | None:
    """Return the segment of a locked file; None, and close it, if this version can't read it."""
    try:
        cursor, size = _cursor_and_size(file.descriptor)
        if cursor is None and size >= segments.HEAD_BYTES:
            file.close()  # it may be a later version's, so it stays as it is
            return None
        segment = Segment(path, file, cursor or size, Tally())
        segment.tally.written = segment.scan()
        return segment
    except BaseException:
        file.close()
        raise


def _release(adopted: Iterable[Segment]) -> None:
    """Close segments, for others to adopt."""
    for segment in adopted:
        segment.close()


@contextlib.contextmanager
def _exclusive(path: Path) -> Generator[int, None, None]:
    """Open or create a file for appending, once no other caller of this function has it open."""
    while True:
        with no_fork.tried():
            file = OpenFile(os.open(path, _OPEN | os.O_CREAT, 0o600))
        try:
            os.fchmod(file.descriptor, 0o600)  # the mode of `open` is reduced by the umask
            fcntl.flock(file.descriptor, fcntl.LOCK_EX)
            if file.is_at(path):
                yield file.descriptor
                return
        finally:
            file.close()


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return False for directories, links and pipes, which others have put there."""
    return entry.is_file(follow_symlinks=False)


def _refused(line: bytes) -> tuple[bytes, bytes] | None:
    """Return the action and the JSON of a line of a `.bad` file; None for a damaged record."""
    try:
        record: Any = json.loads(line)
        return record["action"].encode(), record["body"].encode()
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _cursor_and_size(descriptor: int) -> tuple[int | None, int]:
    """Return the cursor of a segment, None if this version can't read it, and its size."""
    size = os.fstat(descriptor).st_size
    return segments.read_head(os.pread(descriptor, segments.HEAD_BYTES, 0), size), size


def _is_readable(path: str) -> bool:
    """Return whether this version can read a segment; True if it is gone, or can't be opened."""
    try:
        with opened(path, os.O_RDONLY) as descriptor:
            return _cursor_and_size(descriptor)[0] is not None
    except OSError:
        return True


def _look(path: Path) -> tuple[int, bool]:
    """Return the number of pending records in a file, and whether a process has its lock."""
    count, locked = 0, False
    with contextlib.suppress(FileNotFoundError), opened(path, os.O_RDONLY) as descriptor:
        locked = not _is_free(descriptor)
        cursor, size = _cursor_and_size(descriptor)

        def read(start: int, length: int) -> bytes:
            return os.pread(descriptor, length, start)

        count, _ = segments.count(read, size if cursor is None else cursor, size)
    return count, locked


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
