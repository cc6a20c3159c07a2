"""`humanloop delete`: delete logs or a whole project, while a server runs or not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from humanloop.cli.support import add_database, add_json, complain, counted, is_sure, print_json

if TYPE_CHECKING:
    from humanloop.server.store.database import Database

NAME = "delete"
HELP = "delete logs or a project, with or without a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    log = kinds.add_parser("log", help="delete logs with their feedback")
    log.add_argument("ids", nargs="+", metavar="ID", help="id of a log: data_...")
    project = kinds.add_parser("project", help="delete a project with all that is in it")
    project.add_argument("project", metavar="NAME", help="name or id of the project")
    project.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    for each in (log, project):
        add_database(each)
        add_json(each)


def run(options: argparse.Namespace) -> int:
    """Delete, and report how much was deleted."""
    from humanloop.server.store import space
    from humanloop.server.store.database import joined

    with joined(options.database, foreign_keys=False) as database:
        done = _delete_logs if options.kind == "log" else _delete_project
        code = done(database, options)
        space.give_back(database, spare=True)
    return code


def _delete_logs(database: Database, options: argparse.Namespace) -> int:
    from humanloop.server.store import deletion

    ids = list(dict.fromkeys(options.ids))
    known = deletion.known_logs(database, ids)
    deletion.delete_by_ids(database, known)
    missing = [each for each in ids if each not in set(known)]
    if options.json:
        print_json({"deleted": known, "missing": missing})
    else:
        print(f"Deleted {counted(len(known), 'log')}.")
        for each in missing:
            complain(f"There is no log {each!r}.")
    return 1 if missing else 0


def _delete_project(database: Database, options: argparse.Namespace) -> int:
    from humanloop.server.store import deletion, names
    from humanloop.server.store.deletion import Batches

    with database.read() as session:
        project = names.find_project(session, options.project)
    what = f"the project {project.name!r} with its {counted(project.logs, 'log')}"
    if not options.yes and not is_sure(what):
        return 1
    logs = deletion.delete_project(Batches(database), project.id)
    if options.json:
        print_json({"project": project.name, "project_id": project.id, "logs": logs})
    else:
        print(f"Deleted the project {project.name!r} with {counted(logs, 'log')}.")
    return 0
