"""`humanloop backup`: copy the database, while a server runs or not."""

from __future__ import annotations

import argparse
from pathlib import Path

from humanloop.cli.support import add_database, add_json, print_json

NAME = "backup"
HELP = "copy the database, with or without a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup to create")
    add_database(parser, "FILE")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Make a backup."""
    from humanloop.server.store import copies

    source = copies.back_up(options.database, options.file)
    if options.json:
        backup = options.file.absolute()
        size = backup.stat().st_size
        print_json({"database": str(source), "backup": str(backup), "bytes": size})
    else:
        print(f"Copied {source} to {options.file}.")
    return 0
