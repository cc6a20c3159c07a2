"""`humanloop check-migration`: find the lines of programs for 0.5 that behave differently now."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from humanloop.cli.support import add_json, complain, print_json

NAME = "check-migration"
HELP = "find the lines of programs for 0.5 that behave differently now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Find the lines of programs for version 0.5 that behave differently now. The exit code is"
        " 1 if there are any, and 2 if a file can't be read."
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="of one program; a notebook, a directory, or - for the standard input",
    )
    add_json(parser, "print one JSON object for each line that was found")


def run(options: argparse.Namespace) -> int:
    """Print the findings."""
    from humanloop.check_migration import check_migration

    findings, unreadable = check_migration(options.paths)
    for file, found in findings.items():
        for line, column, reason in found:
            if options.json:
                print_json({"file": str(file), "line": line, "column": column, "reason": reason})
            else:
                print(f"{file}:{line}:{column}: {reason}")
    sys.stdout.flush()
    for file, problem in unreadable.items():
        complain(f"{file}: {problem}")
    return 2 if unreadable else int(any(findings.values()))
