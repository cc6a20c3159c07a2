"""`humanloop restore`: replace the database by a backup."""

from __future__ import annotations

import argparse
from pathlib import Path

from humanloop.cli.support import add_database, add_json, print_json

NAME = "restore"
HELP = "replace the database by a backup"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup to use")
    add_database(parser, "FILE")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Restore a backup."""
    from humanloop.server.store import copies

    path = copies.restore(options.database, options.file)
    if options.json:
        print_json({"database": str(path), "backup": str(options.file.absolute())})
    else:
        print(f"Restored {path} from {options.file}.")
    return 0
