"""`humanloop quickstart`: show the main features, on a temporary server."""

from __future__ import annotations

import argparse

NAME = "quickstart"
HELP = "show the main features, on a temporary server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""
    parser.description = "Show the main features, on a temporary server that is removed at the end."


def run(options: argparse.Namespace) -> int:
    """Run the quickstart."""
    from humanloop import quickstart

    return quickstart.main()
