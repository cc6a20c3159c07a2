"""`humanloop help`: explain the command line, or one command."""

from __future__ import annotations

import argparse

NAME = "help"
HELP = "explain a command"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("topic", nargs="?", metavar="COMMAND", help="default: all commands")


def run(options: argparse.Namespace) -> int:
    """Print the same text as `--help`."""
    parser: argparse.ArgumentParser = options.parser
    parser.parse_args(["--help"] if options.topic is None else [options.topic, "--help"])
    return 0
