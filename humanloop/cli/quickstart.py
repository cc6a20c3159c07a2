"""`humanloop quickstart`: show the main features, on a temporary server."""

from __future__ import annotations

import argparse

NAME = "quickstart"
HELP = "see the main job done, on a temporary server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""
    parser.description = "See the main job done, on a temporary server that is gone at the end."


def run(options: argparse.Namespace) -> int:
    """Run the quickstart."""
    from humanloop import quickstart

    return quickstart.main()
