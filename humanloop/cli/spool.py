"""`humanloop spool`: look at what programs have logged later, send it, drop it."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from humanloop.cli.support import add_json, complain, print_json, print_table

if TYPE_CHECKING:
    from humanloop.spool.directory import Account, Directory

NAME = "spool"
HELP = "look at what programs log later, send it or drop it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="list what is not sent, by account")
    _add_directory(status)
    add_json(status)
    send = actions.add_parser(
        "send", help="send what ended programs left, with HUMANLOOP_API_KEY and HUMANLOOP_BASE_URL"
    )
    _add_directory(send)
    send.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)g)"
    )
    add_json(send)
    drop = actions.add_parser("drop", help="delete what ended programs left, and what was refused")
    _add_directory(drop)
    drop.add_argument("account", nargs="*", metavar="ACCOUNT", help="(default: all)")
    drop.add_argument("--bad", action="store_true", help="only what was refused")
    drop.add_argument("--yes", action="store_true", help="do not ask")


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--spool",
        default="auto",
        metavar="PATH",
        help="as in Humanloop(spool=PATH) (default: the environment's HUMANLOOP_SPOOL, else auto)",
    )


def run(options: argparse.Namespace) -> int:
    """Do one of the three."""
    code: int = {"status": _status, "send": _send, "drop": _drop}[options.action](options)
    return code


def _directories(options: argparse.Namespace) -> list[Directory]:
    """Return the directories of all accounts."""
    from pathlib import Path

    from humanloop.spool.directory import Directory
    from humanloop.spool.options import read_setting, state_directory

    setting = read_setting(options.spool)
    if setting is None:
        return []
    root = state_directory() if setting.path == "auto" else Path(setting.path).expanduser()
    return [Directory(path) for path in sorted(root.glob("*")) if path.is_dir()]


def _status(options: argparse.Namespace) -> int:
    found = [directory.look() for directory in _directories(options)]
    if options.json:
        for each in found:
            print_json({**each._asdict(), "oldest": _moment(each)})
        return 0
    head = ("ACCOUNT", "LEFT", "IN USE", "REFUSED", "BYTES", "OLDEST")
    rows = [(e.name, e.left, e.in_use, e.set_aside, e.bytes, _moment(e)) for e in found]
    print_table(head, rows)
    return 0


def _moment(account: Account) -> str | None:
    if account.oldest is None:
        return None
    moment = datetime.fromtimestamp(account.oldest, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _send(options: argparse.Namespace) -> int:
    from humanloop.client import Humanloop
    from humanloop.exceptions import OpenApiException

    try:
        with Humanloop(spool=options.spool) as client:
            sent, left = client.flush(options.timeout)
            error = client.spool.stats().last_error
    except OpenApiException as problem:
        complain(str(problem))
        return 1
    if options.json:
        print_json({"sent": sent, "left": left, "error": error if left else None})
    else:
        print(f"{sent:,} sent, {left:,} left")
        if left and error:
            complain(error)
    return 1 if left else 0


def _drop(options: argparse.Namespace) -> int:
    directories = _directories(options)
    if options.account:
        wanted = [each for each in directories if each.path.name in options.account]
        if missing := {*options.account} - {each.path.name for each in wanted}:
            complain(f"there is no account {sorted(missing)[0]!r} in this spool")
            return 1
        directories = wanted
    if not options.yes and not _is_sure(options, directories):
        return 1
    for directory in directories:
        dropped = 0
        if not options.bad:
            for segment in directory.adopt():
                dropped += segment.tally.left
                segment.close(remove=True)
        bad = directory.drop_bad()
        account = directory.look()
        rest = f"; {account.in_use:,} are of programs that run" if account.in_use else ""
        print(f"{account.name}: {dropped:,} unsent and {bad:,} refused dropped{rest}")
    return 0


def _is_sure(options: argparse.Namespace, directories: list[Directory]) -> bool:
    accounts = [directory.look() for directory in directories]
    left = 0 if options.bad else sum(each.left - each.in_use for each in accounts)
    bad = sum(each.set_aside for each in accounts)
    if not sys.stdin.isatty() or not os.isatty(1):
        complain(f"{left:,} unsent and {bad:,} refused records would be lost; confirm with --yes")
        return False
    answer = input(f"Drop {left:,} unsent and {bad:,} refused records? [y/N] ")
    return answer.strip().lower() in {"y", "yes"}
