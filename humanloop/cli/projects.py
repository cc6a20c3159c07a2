"""`humanloop projects`: list the projects, while a server runs or not."""

from __future__ import annotations

import argparse

from humanloop.cli.support import add_database, add_json, print_json, print_table

NAME = "projects"
HELP = "list the projects"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = "List the projects, the newest first, with or without a running server."
    add_database(parser)
    add_json(parser, "print a JSON array of objects")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from humanloop.server.store import overview
    from humanloop.server.store.database import open_for_reading
    from humanloop.server.store.times import to_text

    with open_for_reading(options.database) as read, read() as session:
        projects = overview.of_projects(session)
    if options.json:
        print_json(
            [
                {
                    **project._asdict(),
                    "last_log_at": project.last_log_at and to_text(project.last_log_at),
                }
                for project in projects
            ]
        )
        return 0
    head = ("NAME", "ID", "LOGS", "CONFIGS", "ACTIVE", "LAST LOG")
    print_table(
        head,
        [
            (
                project.name,
                project.id,
                project.logs,
                project.configs,
                project.active,
                project.last_log_at and project.last_log_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            )
            for project in projects
        ],
    )
    return 0
