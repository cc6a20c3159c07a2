"""`humanloop prune`: delete data older than some age, while a server runs or not."""

from __future__ import annotations

import argparse
from typing import Any

from humanloop.cli.support import add_database, add_json, complain, print_json, read_age

NAME = "prune"
HELP = "delete old logs, with or without a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Delete the logs that are older than an age, with their feedback, the sessions that are"
        " left empty, and trials of that age; then return the freed space to the disk."
    )
    parser.add_argument(
        "--keep", type=read_age, metavar="AGE", help="delete logs older than this: 12h, 90d or 2w"
    )
    parser.add_argument(
        "--project", metavar="NAME", help="only in the project with this name or id"
    )
    parser.add_argument("--dry-run", action="store_true", help="report only, delete nothing")
    parser.add_argument(
        "--vacuum",
        action="store_true",
        help="rewrite a SQLite file at the end, as small as possible; only while no server runs",
    )
    add_database(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Prune, and report how much was deleted."""
    from humanloop.server.store import space

    if options.keep is None and not options.vacuum:
        complain("give --keep AGE, such as --keep 90d, or --vacuum")
        return 2
    result: dict[str, Any] = {}
    if options.keep is not None:
        result = _prune(options)
    if options.vacuum and not options.dry_run:
        result["freed_bytes"] = result.get("freed_bytes", 0) + space.rebuild(options.database)
    if options.json:
        print_json(result)
        return 0
    if options.keep is not None:
        counts = ", ".join(f"{result[kind]:,} {kind}" for kind in ("logs", "trials", "sessions"))
        verb = "Would delete" if options.dry_run else "Deleted"
        print(f"{verb} data from before {result['before']}: {counts}.")
    if freed := result.get("freed_bytes"):
        print(f"The file is {freed / 1e6:,.1f} MB smaller.")
    if result.get("shrinks") is False:
        print(
            "The file is as large as before; its freed space is reused. To make it smaller, run"
            " `humanloop prune --vacuum` once while no server runs."
        )
    return 0


def _prune(options: argparse.Namespace) -> dict[str, Any]:
    from humanloop.server.store import names, retention, space
    from humanloop.server.store.database import joined
    from humanloop.server.store.times import now, to_text

    before = now() - options.keep
    with joined(options.database) as database:
        project_id = None
        if options.project is not None:
            with database.read() as session:
                project_id = names.find_project(session, options.project).id
        if options.dry_run:
            pruned = retention.count(database, before, project_id)
        else:
            pruned = retention.prune(database, before, project_id)
        result = {
            "before": to_text(before),
            "logs": pruned.logs,
            "trials": pruned.trials,
            "sessions": pruned.sessions,
            "dry_run": options.dry_run,
        }
        if not options.dry_run and database.dialect == "sqlite":
            result["shrinks"] = options.vacuum or space.shrinks(database)
            result["freed_bytes"] = space.give_back(database)
    return result
