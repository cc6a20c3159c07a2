"""The command `humanloop`.

    humanloop serve             run the embedded server
    humanloop backup FILE       copy its database, while it runs or not
    humanloop restore FILE      put a backup in the place of the database
    humanloop quickstart        see the whole product work, on a temporary server
    humanloop check-migration   find the lines of programs for 0.5 that behave differently now

All but the last need the extra `server`. What goes wrong is said in one line on the standard error
stream, with exit code 1; wrong arguments end with 2, as argparse has it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from humanloop import __version__
from humanloop.schemas import compiled

DEFAULT_DATABASE = "sqlite:///humanloop.db"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, or with the process's own; return the exit code."""
    options, rest = _parser().parse_known_args(arguments)
    try:
        if options.command == "quickstart":
            from humanloop import quickstart

            return quickstart.main(rest)
        if rest:
            _parser().error(f"unrecognized arguments: {' '.join(rest)}")
        if options.command == "check-migration":
            return _check_migration(options.paths)
        return _run(options)
    except BrokenPipeError:
        # The reader, such as `head`, has enough. What is left must not fail when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImportError as error:
        # The message of the extra that is missing says how to install it.
        print(f"humanloop: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="humanloop", description="The Humanloop API on your own machine."
    )
    form = "compiled" if compiled else "pure Python"
    version = f"humanloop {__version__} ({form})"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the embedded server",
        description="Serve the Humanloop API, version 4, under /v4.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    serve.add_argument("--port", default=8000, type=_port, help="0 for any free port")
    _add_database(serve, "sqlite:///FILE or postgresql://...")
    serve.add_argument(
        "--api-key",
        action="append",
        dest="api_keys",
        metavar="KEY",
        default=argparse.SUPPRESS,
        help="a key that clients may use, once for each user "
        "(default: the environment's HUMANLOOP_API_KEY, else a new one that is printed)",
    )
    serve.add_argument(
        "--sampling",
        choices=("uniform", "thompson"),
        default="uniform",
        help="how experiments draw a config",
    )
    serve.add_argument(
        "--sandbox",
        choices=("none", "bwrap"),
        default="none",
        help="what keeps evaluators apart from the system besides their interpreter",
    )
    serve.add_argument("--verbose", action="store_true", help="log one line for each request")
    for name, file_help, text in (
        ("backup", "the backup to make", "copy the database, while a server runs or not"),
        ("restore", "the backup to use", "put a backup in the place of the database"),
    ):
        command = commands.add_parser(
            name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.add_argument("file", type=Path, metavar="FILE", help=file_help)
        _add_database(command, "sqlite:///FILE")
    commands.add_parser(
        "quickstart", help="see the main job done, on a temporary server", add_help=False
    )
    check = commands.add_parser(
        "check-migration",
        help="find the lines of programs for 0.5 that behave differently now",
        description="Find the lines of programs for version 0.5 that behave differently now. The"
        " exit code is 1 if there are any, and 2 if a file can't be read.",
    )
    check.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="of one program; a notebook, a directory, or - for the standard input",
    )
    return parser


def _add_database(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--database", default=DEFAULT_DATABASE, metavar="URL", help=text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, {text!r} is none")
    return int(text)


def _check_migration(paths: Sequence[Path]) -> int:
    from humanloop.check_migration import check_migration

    findings, unreadable = check_migration(paths)
    for file, found in findings.items():
        for line, column, reason in found:
            print(f"{file}:{line}:{column}: {reason}")
    sys.stdout.flush()
    for file, problem in unreadable.items():
        print(f"humanloop: {file}: {problem}", file=sys.stderr)
    return 2 if unreadable else int(any(findings.values()))


def _run(options: argparse.Namespace) -> int:
    # Imported here, as in what it runs, so that the client never needs the extra `server`.
    from humanloop.server import StartError

    try:
        _COMMANDS[options.command](options)
    except StartError as error:
        print(f"humanloop: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    from humanloop.server.http.running import serve

    environment_key = os.environ.get("HUMANLOOP_API_KEY")
    given: list[str] = getattr(options, "api_keys", [])
    keys = given or ([environment_key] if environment_key else [])
    serve(
        options.host,
        options.port,
        options.database,
        keys,
        sampling=options.sampling,
        sandbox=options.sandbox,
        verbose=options.verbose,
    )


def _back_up(options: argparse.Namespace) -> None:
    from humanloop.server.store import copies

    source = copies.back_up(options.database, options.file)
    print(f"Copied {source} to {options.file}.")


def _restore(options: argparse.Namespace) -> None:
    from humanloop.server.store import copies

    path = copies.restore(options.database, options.file)
    print(f"Restored {path} from {options.file}.")


_COMMANDS = {"serve": _serve, "backup": _back_up, "restore": _restore}


if __name__ == "__main__":
    sys.exit(main())
