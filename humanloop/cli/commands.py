"""The commands, their parser, and the handling of their errors.

Neither this module nor the top of a command's module imports anything large, so that `--help` and
completion answer at once: a command's `run` imports its own needs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from humanloop.cli import (
    backup,
    check_migration,
    completion,
    delete,
    doctor,
    export,
    help,
    import_,
    projects,
    prune,
    quickstart,
    restore,
    serve,
    spool,
    tail,
    version,
)
from humanloop.cli.support import complain


class Command(Protocol):
    """The interface of a command's module."""

    @property
    def NAME(self) -> str:
        """Return the command's name."""
        ...

    @property
    def HELP(self) -> str:
        """Return the command's line in the list of all commands."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments; may set the parser's description, which is HELP otherwise."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do the command's work; return the exit code.

        StartError, ImportError and OSError are reported in one line, with exit code 1.
        """
        ...


COMMANDS: tuple[Command, ...] = (
    serve,
    quickstart,
    projects,
    tail,
    doctor,
    export,
    import_,
    prune,
    delete,
    backup,
    restore,
    spool,
    check_migration,
    completion,
    help,
    version,
)


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; return the exit code."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        complain("the standard output is closed; redirect it to /dev/null to discard the output")
        return 1
    try:
        try:
            options = make_parser().parse_args(arguments)
            code: int = options.run(options)
            return code
        finally:
            # Flush now, not at Python's exit, where nobody can catch an error.
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # the reader, such as `head`, has read enough
        return 1
    except (ImportError, _start_error()) as error:
        # The message of a missing extra says how to install it.
        complain(str(error))
        return 1
    except OSError as error:
        _drop_output()
        place = "" if error.filename is None else f"{error.filename}: "
        complain(f"{place}{error.strerror or error}")
        return 1


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="humanloop", description="The Humanloop API on your own machine.")
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="print the version, and whether the package is compiled, and exit",
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = parsers.add_parser(
            command.NAME,
            help=command.HELP,
            description=f"{command.HELP[0].upper()}{command.HELP[1:]}.",
        )
        command.add_arguments(own)
        own.set_defaults(run=command.run, parser=parser)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that reports when its help can't be written, which argparse hides."""

    def print_help(self, file: Any = None) -> None:
        """Print the help to a file, by default the standard output."""
        print(self.format_help(), end="", file=file)


class _Version(argparse.Action):
    """The action that prints the version and exits; imports what it needs only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: Any) -> None:
        version.run(argparse.Namespace(json=False))
        parser.exit()


def _start_error() -> type[Exception]:
    """Return the server's StartError.

    If its module is not loaded, nothing can have raised it, so it is not loaded for this.
    """
    errors = sys.modules.get("humanloop.server.errors")
    return ImportError if errors is None else errors.StartError


def _drop_output() -> None:
    """Redirect the output to nowhere, so that the flush at Python's exit does not fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
