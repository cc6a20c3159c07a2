"""The commands, their parser, and what becomes of their errors.

Nothing that is large is imported here, nor at the top of a command's module, so that `--help` and
completion answer at once: `run` of a command imports what it needs.
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
    """A module of this package that is a command."""

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
        """Do what the command does; return the exit code.

        StartError, ImportError and OSError are told in one line, with exit code 1.
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
        complain("the standard output is closed; redirect it to /dev/null to do without")
        return 1
    try:
        try:
            options = make_parser().parse_args(arguments)
            code: int = options.run(options)
            return code
        finally:
            # Now and not when Python ends, where nobody can catch what fails.
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # the reader, such as `head`, has enough
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
        "--version", action=_Version, nargs=0, help="show the version and the form, and exit"
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
    """A parser that does not hide, as argparse does, that its help could not be written."""

    def print_help(self, file: Any = None) -> None:
        """Print the help on a file, by default the standard output."""
        print(self.format_help(), end="", file=file)


class _Version(argparse.Action):
    """Print the version and exit; finds the form out only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: Any) -> None:
        version.run(argparse.Namespace(json=False))
        parser.exit()


def _start_error() -> type[Exception]:
    """Return the server's error for what can't start.

    Nothing of the server has raised one unless its module is loaded, so it is not loaded for this.
    """
    errors = sys.modules.get("humanloop.server.errors")
    return ImportError if errors is None else errors.StartError


def _drop_output() -> None:
    """Let what could not be written not fail a second time when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
