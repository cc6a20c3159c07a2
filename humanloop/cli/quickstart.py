"""`humanloop quickstart`: see the main job done, on a temporary server."""

from __future__ import annotations

import argparse

NAME = "quickstart"
HELP = "see the main job done, on a temporary server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments, of which there are none."""
    parser.description = "See the main job done, on a temporary server that is gone at the end."


def run(options: argparse.Namespace) -> int:
    """Run the quickstart."""
    from humanloop import quickstart

    return quickstart.main()
