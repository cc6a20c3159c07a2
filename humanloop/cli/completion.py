"""`humanloop completion`: let a shell complete the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

NAME = "completion"
HELP = "print a shell completion script"
_SHELLS = ("bash", "zsh", "fish", "tcsh")  # those that shtab knows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Print a script that makes a shell complete commands, options and files. For bash:"
        ' eval "$(humanloop completion bash)", in ~/.bashrc. It needs the extra `completion`.'
    )
    parser.add_argument("shell", choices=_SHELLS, help="which shell")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ModuleNotFoundError as error:
        from humanloop.extras import how_to_install

        raise ImportError(
            f"completion needs the package 'shtab', which is not installed;"
            f" {how_to_install('completion')}"
        ) from error

    parser: argparse.ArgumentParser = options.parser
    for action in _actions(parser):
        if action.type is Path or action.dest == "database":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        choices: object = action.choices
        if isinstance(choices, Mapping):  # the parsers of the commands
            for own in cast("Mapping[str, argparse.ArgumentParser]", choices).values():
                yield from _actions(own)
