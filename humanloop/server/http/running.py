"""`humanloop serve`: runs the server in the foreground and says how to use it.

What it prints is all that a newcomer needs: where the server is, where the data is, the key when
it was made just now, and lines to paste.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TextIO, cast

import uvicorn
from sqlalchemy import make_url
from starlette.types import ASGIApp

from humanloop import __version__
from humanloop.server.errors import StartError
from humanloop.server.evaluation.engine import Sandbox
from humanloop.server.http import guard
from humanloop.server.http.app import create_app
from humanloop.server.http.connections import MAX_HEAD, Connection, connections_within
from humanloop.server.http.routing import PREFIX
from humanloop.server.http.seldom import Seldom
from humanloop.server.operations.calls import Sampling, Settings

_STOP_SECONDS = 5
_BACKLOG = 1024  # connections that the system has accepted and the server has not yet
_ACCEPTED = 16  # connections in one step of the event loop
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def new_api_key() -> str:
    """Return a key that nobody can guess."""
    return f"hl_{secrets.token_urlsafe(30)}"


class Server(uvicorn.Server):
    """uvicorn on a socket that is bound already; says when it serves, and can be told to stop.

    settings: the limits of connections.
    """

    def __init__(self, app: ASGIApp, settings: Settings, on_started: Callable[[], None]) -> None:
        self._seldom = Seldom()
        protocol = partial(Connection, settings, connections_within(settings), self._seldom)
        super().__init__(
            uvicorn.Config(
                app,
                http=cast("type[asyncio.Protocol]", protocol),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                # asyncio tries to accept so many even when the process is out of descriptors.
                backlog=_ACCEPTED,
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_keep_alive=settings.idle_seconds,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        asyncio.get_running_loop().set_exception_handler(self._log_exception)
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)
        self._on_started()

    def _log_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            # asyncio tries again each second.
            self._seldom.error(f"No connection can be accepted: {error.strerror}.")
        elif not (isinstance(error, OSError) and "transport" in context):  # a peer is gone
            loop.default_exception_handler(context)

    def stop(self) -> None:
        """Finish what is being answered, then end."""
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises StartError when the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off (it delays answers by 40 ms) only where TCP is explicit,
    # which socket.create_server does not do.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        raise StartError(
            f"Port {port} of {host} can't be used: {error.strerror}. "
            "Choose another one with --port, or let the system choose with --port 0."
        ) from error


def allowed_hosts(listener: socket.socket, host: str) -> frozenset[str] | None:
    """Return the Host names that clients may use; host: what the socket was told to bind to."""
    return guard.hosts_for(listener.getsockname()[0], host)


def url_of(listener: socket.socket) -> str:
    """Return the base URL of the API at a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PREFIX}"


def serve(
    host: str,
    port: int,
    database_url: str,
    api_keys: Sequence[str],
    *,
    sampling: Sampling = "uniform",
    sandbox: Sandbox = "none",
    verbose: bool = False,
    out: TextIO | None = None,
) -> None:
    """Serve until interrupted; without a key one is made and printed.

    Raises StartError when the server can't start.
    """
    out = out or sys.stdout
    keys = list(api_keys) or [new_api_key()]
    with bind(host, port) as listener:
        settings = Settings(
            sampling=sampling, sandbox=sandbox, allowed_hosts=allowed_hosts(listener, host)
        )
        app = create_app(database_url, keys, settings)
        _answer_evenly()
        text = welcome(url_of(listener), database_url, None if api_keys else keys[0])
        _log_to_stderr(verbose=verbose)
        server = Server(app, settings, lambda: print(text, file=out, flush=True))
        # uvicorn finishes what is being answered, and then passes the interrupt on, unless Python
        # was started with interrupts ignored, as shells start what runs in the background.
        with suppress(KeyboardInterrupt):
            server.run([listener])
        print("\nStopped.", file=out, flush=True)


def _answer_evenly() -> None:
    """Keep what is computed for one request from holding up the others, in a process of our own.

    A garbage collection stops every thread, for longer the more objects there are: those that are
    there from the beginning stay anyway, and large bodies have many, of which hardly any is in a
    cycle. A thread that computes gives way after a millisecond, since whoever asks the database
    some things in a row waits for it each time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.001)


def welcome(url: str, database_url: str, new_key: str | None) -> str:
    """Return what is printed when the server is up; `new_key` is one that nobody has seen yet."""
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
