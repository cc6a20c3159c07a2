"""`humanloop version`: print the version, and the form of the package that runs."""

from __future__ import annotations

import argparse
import platform

from humanloop import __version__
from humanloop.cli.support import add_json, print_json

NAME = "version"
HELP = "print the version"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the version."""
    if options.json:
        print_json({"version": __version__, "form": form(), "python": platform.python_version()})
    else:
        print(f"humanloop {__version__} ({form()})")
    return 0


def form() -> str:
    """Return the form in which the schema runtime is installed."""
    from humanloop.schemas import compiled

    return "compiled" if compiled else "pure Python"
