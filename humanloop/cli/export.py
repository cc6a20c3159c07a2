"""`humanloop export`: write logs to a file, while a server runs or not."""

from __future__ import annotations

import argparse
import os
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path
from typing import IO

from humanloop.cli.support import Progress, add_database, add_json, counted, print_json

NAME = "export"
HELP = "write logs to a file, with or without a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "projects", nargs="*", metavar="PROJECT", help="name or id of a project; default: all"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="default: the standard output"
    )
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "parquet"),
        help="default: by the name of FILE, else jsonl; FILE.gz is compressed",
    )
    parser.add_argument(
        "--since",
        type=_moment,
        metavar="TIME",
        help="only logs from this time on: 2026-01-31 (UTC) or RFC 3339",
    )
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="only logs from before this time"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE")
    add_database(parser)
    add_json(parser, "print a summary as JSON at the end; needs -o")


def run(options: argparse.Namespace) -> int:
    """Export, and report how much."""
    from humanloop.server.errors import StartError
    from humanloop.server.store import names
    from humanloop.server.store.database import open_for_reading
    from humanloop.server.transfer import exporting, formats

    path: Path | None = options.output
    if path is not None and str(path) == "-":
        path = None
    if options.json and path is None:
        raise StartError("--json prints a summary on the standard output: give -o FILE as well.")
    name = formats.format_of(path, options.format)
    with open_for_reading(options.database) as read, read() as session:
        ids = [names.find_project(session, each).id for each in options.projects]
        wanted = exporting.Wanted(list(dict.fromkeys(ids)) or None, options.since, options.until)
        with (
            _output(path, force=options.force) as file,
            formats.writer(file, name, compress=_is_packed(path)) as writer,
            Progress("exported", exporting.count(session, wanted)) as progress,
        ):
            for records in exporting.records(session, wanted):
                writer.write(records)
                progress.advance(len(records))
    if options.json:
        size = None if path is None else path.stat().st_size
        print_json({"file": str(path), "format": name, "logs": progress.done, "bytes": size})
    elif path is not None:
        print(f"Exported {counted(progress.done, 'log')} to {path}.")
    return 0


def _is_packed(path: Path | None) -> bool:
    return path is not None and path.suffix.lower() == ".gz"


@contextmanager
def _output(path: Path | None, *, force: bool) -> Generator[IO[bytes]]:
    """Open the output; a file gets its name once it is complete."""
    from humanloop.server.errors import StartError

    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as file:  # a device or a pipe
            yield file
        return
    if path.exists() and not force:
        raise StartError(f"There is already a file {path}. Give --force to replace it.")
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(".partial", f"{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _moment(text: str) -> datetime:
    """Return the time in an RFC 3339 text; for a date, its beginning in UTC."""
    from humanloop.schemas import DateTimeSchema

    try:
        if len(text) == len("2026-01-31"):
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        return DateTimeSchema(text).as_datetime.astimezone(timezone.utc)
    except (OverflowError, ValueError):
        message = f"{text!r} is not a time: give a day such as 2026-01-31, or 2026-01-31T12:00:00Z"
        raise argparse.ArgumentTypeError(message) from None
