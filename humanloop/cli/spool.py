"""`humanloop spool`: list, send, put back or drop the logs in the spool."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import TYPE_CHECKING

from humanloop.cli.support import (
    add_json,
    complain,
    counted,
    is_sure,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from humanloop.spool.directory import Account, Directory

NAME = "spool"
HELP = "list, send, retry or drop the logs that programs have not sent yet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="list unsent and refused logs, by account")
    _add_directory(status)
    add_json(status)
    send = actions.add_parser(
        "send",
        help="send the logs that ended programs left, with HUMANLOOP_API_KEY and"
        " HUMANLOOP_BASE_URL",
    )
    _add_directory(send)
    send.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="(default: %(default)g)"
    )
    send.add_argument(
        "--from",
        dest="others",
        action="append",
        default=[],
        metavar="ACCOUNT",
        help="also send this listed account's logs, for example after a change of the key",
    )
    add_json(send)
    retry = actions.add_parser(
        "retry", help="put refused logs back, to be sent again, after fixing the cause"
    )
    _add_directory(retry)
    _add_accounts(retry)
    drop = actions.add_parser(
        "drop", help="delete the logs that ended programs left, and refused ones"
    )
    _add_directory(drop)
    _add_accounts(drop)
    drop.add_argument("--bad", action="store_true", help="only refused logs")
    drop.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--spool",
        default="auto",
        metavar="PATH",
        help="as in Humanloop(spool=PATH) (default: the environment's HUMANLOOP_SPOOL, else auto)",
    )


def _add_accounts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", nargs="*", metavar="ACCOUNT", help="(default: all)")


def run(options: argparse.Namespace) -> int:
    """Run the chosen subcommand."""
    from humanloop.exceptions import OpenApiException

    action = {"status": _status, "send": _send, "retry": _retry, "drop": _drop}[options.action]
    try:
        return action(options)
    except (OpenApiException, OSError) as problem:
        complain(str(problem))
        return 1


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


def _chosen(options: argparse.Namespace, accounts: Sequence[str]) -> list[Directory]:
    """Return the directories of these accounts; raises ApiValueError for an account without one."""
    from humanloop.exceptions import ApiValueError

    found = {each.path.name: each for each in _directories(options)}
    for account in accounts:
        if account not in found:
            raise ApiValueError(f"there is no account {account!r} in this spool")
    return [found[account] for account in accounts]


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
    try:
        moment = datetime.fromtimestamp(account.oldest, timezone.utc)
    except (ValueError, OverflowError):  # a name that somebody has chosen
        return None
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _send(options: argparse.Namespace) -> int:
    from pathlib import Path

    from humanloop.client import Humanloop
    from humanloop.spool.directory import Directory

    with Humanloop(spool=options.spool) as client:
        own = client.spool.stats().directory
        for each in _chosen(options, options.others):
            if own is not None and each.path.resolve() != Path(own).resolve():
                each.move_to(Directory(Path(own)))
        sent, left = client.flush(options.timeout)
        error = client.spool.stats().last_error
        client.spool.close(0)  # don't wait for the remaining logs again
    if options.json:
        print_json({"sent": sent, "left": left, "error": error if left else None})
    else:
        print(f"{sent:,} sent, {left:,} left")
        if left:
            complain(error or f"not all requests were answered within {options.timeout:g} seconds")
    return 1 if left else 0


def _retry(options: argparse.Namespace) -> int:
    from humanloop.spool.options import SpoolOptions
    from humanloop.spool.writer import Writer

    for directory in _chosen(options, options.account) or _directories(options):
        writer = Writer(directory, SpoolOptions(durability="fsync"))
        try:
            back, damaged = directory.put_back(writer.append)
        finally:
            writer.close()
        rest = f"; {damaged:,} damaged left in place" if damaged else ""
        print(f"{directory.path.name}: {back:,} put back{rest}")
    return 0


def _drop(options: argparse.Namespace) -> int:
    directories = _chosen(options, options.account) or _directories(options)
    if not options.yes and not _is_sure(options, directories):
        return 1
    for directory in directories:
        dropped = 0
        if not options.bad:
            for segment in chain.from_iterable(directory.orphans()):
                dropped += segment.tally.written
                segment.close(remove=True)
        bad = directory.drop_bad()
        account = directory.look()
        rest = f"; {account.in_use:,} belong to running programs" if account.in_use else ""
        print(f"{account.name}: {dropped:,} unsent and {bad:,} refused dropped{rest}")
    return 0


def _is_sure(options: argparse.Namespace, directories: list[Directory]) -> bool:
    accounts = [directory.look() for directory in directories]
    left = 0 if options.bad else sum(each.left - each.in_use for each in accounts)
    bad = sum(each.set_aside for each in accounts)
    what = f"{counted(left, 'unsent record')} and {counted(bad, 'refused record')}"
    return not (left or bad) or is_sure(what)
