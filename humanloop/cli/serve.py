"""`humanloop serve`: run the embedded server."""

from __future__ import annotations

import argparse
import os

from humanloop.cli.support import add_database, read_age

NAME = "serve"
HELP = "run the embedded server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = "Serve the Humanloop API, version 4, under /v4."
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", default=8000, type=_port, help="0 for any free port (default: %(default)s)"
    )
    add_database(parser)
    parser.add_argument(
        "--api-key",
        action="append",
        dest="api_keys",
        metavar="KEY",
        default=[],
        help="a key that clients may use, once for each user "
        "(default: the environment's HUMANLOOP_API_KEY, else a new one that is printed)",
    )
    parser.add_argument(
        "--sampling",
        choices=("uniform", "thompson"),
        default="uniform",
        help="how experiments draw a config (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-logs",
        type=read_age,
        metavar="AGE",
        help="delete logs that are older: 12h, 90d or 2w (default: keep them all)",
    )
    parser.add_argument("--verbose", action="store_true", help="log one line for each request")


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from humanloop.server.http.running import serve

    environment_key = os.environ.get("HUMANLOOP_API_KEY")
    keys = options.api_keys or ([environment_key] if environment_key else [])
    serve(
        options.host,
        options.port,
        options.database,
        keys,
        sampling=options.sampling,
        keep_logs=options.keep_logs,
        verbose=options.verbose,
    )
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, {text!r} is none")
    return int(text)
