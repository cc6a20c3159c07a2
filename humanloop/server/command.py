"""`humanloop serve`: runs the server in the foreground and says how to use it.

What it prints is all that a newcomer needs: where the server is, where the data is, the key when
it was made just now, and lines to paste.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from sqlalchemy import make_url

from humanloop import __version__
from humanloop.server import guard
from humanloop.server.app import create_app
from humanloop.server.calls import Sampling, Settings
from humanloop.server.embedded import Server, bind, new_api_key, url_of


def serve(
    host: str,
    port: int,
    database_url: str,
    api_keys: Sequence[str],
    *,
    sampling: Sampling = "uniform",
    verbose: bool = False,
    out: TextIO | None = None,
) -> None:
    """Serve until interrupted; without a key one is made and printed.

    Raises StartError when the server can't start.
    """
    out = out or sys.stdout
    keys = list(api_keys) or [new_api_key()]
    settings = Settings(sampling=sampling, allowed_hosts=guard.hosts_for(host))
    with bind(host, port) as listener:
        app = create_app(database_url, keys, settings)
        text = welcome(url_of(listener), database_url, None if api_keys else keys[0])
        _log_to_stderr(verbose=verbose)
        server = Server(app, lambda: print(text, file=out, flush=True))
        # uvicorn finishes what is being answered, and then passes the interrupt on, unless Python
        # was started with interrupts ignored, as shells start what runs in the background.
        with suppress(KeyboardInterrupt):
            server.run([listener])
        print("\nStopped.", file=out, flush=True)


def welcome(url: str, database_url: str, new_key: str | None) -> str:
    """What is printed when the server is up; `new_key` is a key that nobody has seen yet."""
    shown_key = "the one that you gave" if new_key is None else f"{new_key}  (shown only now)"
    exported = "the-key-that-you-gave" if new_key is None else new_key
    keep = (
        ""
        if new_key is None
        else "\nTo keep this key, start the server with HUMANLOOP_API_KEY set to it.\n"
    )
    return f"""
humanloop {__version__} is serving.

  API       {url}
  Database  {make_url(database_url).render_as_string(hide_password=True)}
  API key   {shown_key}

In another terminal:

  export HUMANLOOP_BASE_URL={url}
  export HUMANLOOP_API_KEY={exported}

and in Python:

  from humanloop import Humanloop

  client = Humanloop()
  client.log(project="hello", config={{"model": "gpt-4"}}, output="Hi!")
  print(client.projects.list().body["records"])
{keep}
Press Ctrl+C to stop."""


def _log_to_stderr(*, verbose: bool) -> None:
    """Show warnings and errors of the server, and with `verbose` one line for each request."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("humanloop.server").setLevel(logging.INFO if verbose else logging.WARNING)
