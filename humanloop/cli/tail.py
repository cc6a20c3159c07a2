"""`humanloop tail`: follow the newest logs, while a server runs or not."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from typing import TYPE_CHECKING

from humanloop.cli.support import add_database, add_json
from humanloop.secrets import one_line, shorten

if TYPE_CHECKING:
    from humanloop.server.store.following import Arrived

NAME = "tail"
HELP = "follow the newest logs"
_SECONDS = 0.5  # between two polls
_WIDTH = 200  # characters of a line if the output is not a terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Print the newest logs, and each further one as it arrives, until Ctrl+C, with or without a"
        " running server."
    )
    parser.add_argument(
        "project", nargs="?", metavar="PROJECT", help="name or id (default: all projects)"
    )
    parser.add_argument(
        "-n",
        "--lines",
        type=_count,
        default=10,
        metavar="COUNT",
        help="how many existing logs to print first (default: %(default)s)",
    )
    parser.add_argument(
        "--no-follow", action="store_true", help="exit after printing the existing logs"
    )
    add_database(parser)
    add_json(parser, "print each log as one JSON object on a line")


def run(options: argparse.Namespace) -> int:
    """Print logs until interrupted."""
    from humanloop.server.store.database import open_for_reading
    from humanloop.server.store.following import Following
    from humanloop.server.store.names import find_project

    show = _as_json if options.json else _as_line
    with open_for_reading(options.database) as read:
        project_id = None
        if options.project is not None:
            with read() as session:
                project_id = find_project(session, options.project).id
        following = Following(read, project_id)
        for arrived in following.begin(options.lines):
            print(show(arrived))
        sys.stdout.flush()
        while not options.no_follow:
            _wait()
            for arrived in following.poll():
                print(show(arrived))
            sys.stdout.flush()
    return 0


def _wait() -> None:
    """Wait until the next poll; raise BrokenPipeError once nobody reads the output."""
    if not hasattr(select, "poll"):  # Windows
        time.sleep(_SECONDS)
        return
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are reported without a request
    if any(event & select.POLLERR for _, event in poll.poll(_SECONDS * 1000)):
        raise BrokenPipeError


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"expected a number from 0 up, got {text!r}")
    return int(text)


def _as_json(arrived: Arrived) -> str:
    from humanloop import schemas
    from humanloop.server.operations.calls import plain

    log, project, config = arrived
    names = ("id", "project_id", "config_id", "session_id", "parent_id", "trial_id", "reference_id")
    values = ("inputs", "messages", "output", "error", "duration", "user", "source", "created_at")
    body = plain(log, *names, *values, project=project, config_name=config, metadata=log.metadata_)
    return schemas.to_json(body)


def _as_line(arrived: Arrived) -> str:
    log, project, config = arrived
    duration = "" if log.duration is None else f"{float(log.duration):.2f} s"
    said = log.output or "" if log.error is None else f"error: {log.error}"
    moment = log.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    parts = (moment, log.id, project, config, duration, said)
    # Longer texts are cut before they are escaped, which saves time.
    line = "  ".join(one_line(part[: 4 * _WIDTH]) for part in parts if part)
    return shorten(line, os.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH)
