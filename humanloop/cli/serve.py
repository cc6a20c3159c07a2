"""`humanloop serve`: run the embedded server."""

from __future__ import annotations

import argparse
import os
import threading
from contextlib import suppress

from humanloop.cli.support import add_database, add_json, add_port, read_age

NAME = "serve"
HELP = "run the embedded server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = "Serve the Humanloop API, version 4, under /v4."
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    add_port(parser, "0 for any free port")
    add_database(parser)
    parser.add_argument(
        "--api-key",
        action="append",
        dest="api_keys",
        metavar="KEY",
        default=[],
        help="a key that clients may use; may be repeated, with a key for each user "
        "(default: the environment's HUMANLOOP_API_KEY, else the one in DATABASE.key, which the "
        "first start creates)",
    )
    parser.add_argument(
        "--sampling",
        choices=("uniform", "thompson"),
        default="uniform",
        help="how experiments draw a config (default: %(default)s)",
    )
    parser.add_argument(
        "--provider",
        action="append",
        dest="providers",
        metavar="NAME[=URL]",
        default=[],
        help="a provider of models; may be repeated: openai, anthropic, openai_azure=URL, or"
        " NAME=URL for an OpenAI-compatible server, such as local=http://127.0.0.1:8080/v1; keys"
        " come from callers, else from the environment's OPENAI_API_KEY, ANTHROPIC_API_KEY,"
        " AZURE_OPENAI_API_KEY or NAME_API_KEY",
    )
    parser.add_argument(
        "--provider-timeout",
        type=_seconds,
        metavar="SECONDS",
        default=600,
        help="the most time for an answer of a model (default: %(default)s)",
    )
    parser.add_argument(
        "--sandbox",
        choices=("none", "bwrap"),
        default="none",
        help="what isolates evaluators from the system, in addition to their interpreter "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--keep-logs",
        type=read_age,
        metavar="AGE",
        help="delete logs older than this: 12h, 90d or 2w (default: keep all)",
    )
    parser.add_argument(
        "--workers",
        default=1,
        type=_count,
        metavar="N",
        help="number of processes; more than one needs PostgreSQL (default: %(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="log one line for each request")
    add_json(parser, "print one JSON object when the server is up")


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
        sandbox=options.sandbox,
        keep_logs=options.keep_logs,
        providers=options.providers,
        provider_seconds=options.provider_timeout,
        workers=options.workers,
        verbose=options.verbose,
        as_json=options.json,
    )
    return 0


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) <= threading.TIMEOUT_MAX:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text!r}")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, got {text!r}")
    return int(text)
