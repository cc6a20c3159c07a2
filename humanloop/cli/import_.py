"""`humanloop import`: read logs from a file, while a server runs or not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from humanloop.cli.support import Progress, add_database, add_json, complain, counted, print_json

NAME = "import"
HELP = "read logs from a file, with or without a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Read logs from a file that `humanloop export` has written, or that has the body of a"
        " request to POST /logs in each line. Logs that exist already are left unchanged, so the"
        " import may be repeated. A missing or empty database is created."
    )
    parser.add_argument("file", metavar="FILE", help="- for the standard input")
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "parquet"),
        help="default: by the name of FILE, else jsonl; FILE.gz is decompressed",
    )
    parser.add_argument("--project", metavar="NAME", help="import all logs into this project")
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="write bad lines to FILE.bad, and go on; else the import stops at the first one",
    )
    add_database(parser)
    add_json(parser, "print a summary as JSON at the end")


def run(options: argparse.Namespace) -> int:
    """Import, and report how much."""
    from humanloop.server.errors import RequestError, StartError
    from humanloop.server.store.database import joined
    from humanloop.server.transfer import formats
    from humanloop.server.transfer.importing import Import

    path = None if options.file == "-" else Path(options.file)
    name = formats.format_of(path, options.format)
    aside = None if path is None or not options.skip_bad else path.with_name(f"{path.name}.bad")
    with (
        _input(path) as file,
        joined(options.database, begin=True) as database,
        Progress("imported") as progress,
        _Aside(aside) as bad_lines,
    ):
        source = None if path is None else path.name
        work = Import(database, source, options.project, skip_bad=options.skip_bad)
        done, reached = work.done, 0
        try:
            for some in work.run(formats.read(path, file, name)):
                for bad in some:
                    complain(f"{options.file}: {bad}")
                    bad_lines.add(bad.text)
                progress.advance(done.logs + done.known - reached)
                reached = done.logs + done.known
        except RequestError as error:
            imported = counted(done.logs, "log")
            raise StartError(f"{error.detail} Imported before: {imported}.") from error
        finally:
            work.finish()
    if options.json:
        print_json(
            {
                "file": options.file,
                "imported": done.logs,
                "known": done.known,
                "bad": done.bad,
                "without_parent": done.orphans,
            }
        )
    else:
        _tell(options, done.logs, done.known, done.bad, done.orphans, aside)
    return 1 if done.bad else 0


def _tell(
    options: argparse.Namespace, logs: int, known: int, bad: int, orphans: int, aside: Path | None
) -> None:
    known_text = f"; {known:,} existed already" if known else ""
    print(f"Imported {counted(logs, 'log')} from {options.file}{known_text}.")
    if orphans:
        print(f"Imported without their parents, which are missing: {counted(orphans, 'log')}.")
    if bad and not options.skip_bad:
        print("The import stopped there. Fix the line and run it again, or give --skip-bad.")
    elif bad:
        where = "" if aside is None else f" They are in {aside}."
        print(f"{bad:,} lines were skipped.{where}")


@contextmanager
def _input(path: Path | None) -> Generator[IO[bytes]]:
    if path is None:
        yield sys.stdin.buffer
    else:
        with path.open("rb") as file:
            yield file


class _Aside:
    """The file of lines that could not be imported; created only if there are any."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line: bytes) -> None:
        """Add a line."""
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("wb")
        self._file.write(line + b"\n")
