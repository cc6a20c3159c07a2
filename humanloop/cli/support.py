"""Common parts of the commands: arguments, and the output of results, errors and progress."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any

from typing_extensions import Self

from humanloop.secrets import one_line, shorten
from humanloop.text_table import text_table

DEFAULT_DATABASE = "humanloop.db"
_WIDEST = 60  # characters of a cell; the JSON output is not cut


def add_database(parser: argparse.ArgumentParser, kinds: str = "FILE or postgresql://...") -> None:
    """Add `--database`, which sets `options.database`; kinds: the accepted kinds of names."""
    parser.add_argument(
        "--database",
        # Not as %(default)s in the help, since a URL may hold a password.
        default=os.environ.get("HUMANLOOP_DATABASE") or DEFAULT_DATABASE,
        metavar="DATABASE",
        help=f"{kinds} (default: the environment's HUMANLOOP_DATABASE, else {DEFAULT_DATABASE})",
    )


def read_age(text: str) -> timedelta:
    """Return the age of an argument such as 90d; raises argparse's error."""
    from humanloop.server.store.retention import parse_age

    try:
        return parse_age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_json(parser: argparse.ArgumentParser, text: str = "print JSON") -> None:
    """Add `--json`, which sets `options.json`."""
    parser.add_argument("--json", action="store_true", help=text)


def add_port(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--port`, which sets `options.port`."""
    parser.add_argument("--port", default=8000, type=_port, help=f"{text} (default: %(default)s)")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def print_json(value: Any) -> None:
    """Print a value as JSON on one line, and flush."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows of cells as aligned columns, columns of numbers to the right."""
    numbers = [n for n in range(len(head)) if rows and all(isinstance(row[n], int) for row in rows)]
    print(text_table([head, *([_cell(cell) for cell in row] for row in rows)], numbers))


def _cell(cell: object) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return "-" if cell is None else shorten(one_line(str(cell)), _WIDEST)


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, such as `1 log` and `2,000 logs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def complain(text: str) -> None:
    """Print an error in one line on the standard error stream."""
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]
        print(f"humanloop: {one_line(text)}", file=sys.stderr)


def is_sure(what: str) -> bool:
    """Ask on a terminal whether to delete something; without a terminal, print what is needed."""
    if not sys.stdin.isatty():
        complain(f"to delete {what}, give --yes")
        return False
    print(f"Delete {what}? It can't be undone. [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        return True
    complain("nothing was deleted")
    return False


class Progress:
    """A progress line on the standard error stream, if that is a terminal.

    verb: such as "exported"; unit: of the count; total: None if unknown.
    """

    _SECONDS = 0.1  # between two drawings

    def __init__(self, verb: str, total: int | None = None, unit: str = "logs") -> None:
        self.done = 0
        self._verb, self._total, self._unit = verb, total, unit
        self._shown = sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]
        self._begun = self._drawn = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def advance(self, count: int = 1) -> None:
        """Add to the count."""
        self.done += count
        now = time.monotonic()
        if self._shown and now - self._drawn >= self._SECONDS:
            self._drawn = now
            print(f"\r{self._line(now)}\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        rate = f"{self.done / (now - self._begun):,.0f} per second"
        if not self._total:
            return f"{self._verb} {self.done:,} {self._unit}, {rate}"
        share = self.done / self._total
        return f"{self._verb} {self.done:,} of {self._total:,} {self._unit} ({share:.0%}), {rate}"
