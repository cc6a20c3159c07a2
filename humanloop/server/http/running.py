"""The running server: on a socket, with its keys, until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast

import uvicorn
from starlette.types import ASGIApp

from humanloop.server.errors import StartError
from humanloop.server.evaluation.engine import Sandbox
from humanloop.server.generation.egress import ProviderLimits
from humanloop.server.http import guard
from humanloop.server.http.app import create_app
from humanloop.server.http.connections import MAX_HEAD, Connection, connections_within
from humanloop.server.http.welcome import Welcome, url_of, urls_elsewhere
from humanloop.server.http.workers import Parent
from humanloop.server.http.workers import run as supervise
from humanloop.server.operations.calls import Sampling, Settings
from humanloop.server.seldom import Seldom
from humanloop.server.store import key_file, urls

logger = logging.getLogger("humanloop.server")
_STOP_SECONDS = 5
_BACKLOG = 1024  # connections that the system has accepted and the server has not
_ACCEPTED = 16  # connections accepted in one step of the event loop
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def new_api_key() -> str:
    """Return a key that nobody can guess."""
    return f"hl_{secrets.token_urlsafe(30)}"


class Server(uvicorn.Server):
    """uvicorn on a bound socket; signals when it serves, and can be stopped.

    settings: the limits of connections. accepted: how many connections are accepted in a row; few
        if other processes accept on the same socket, so that each gets its share.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        on_started: Callable[[], None],
        *,
        accepted: int = _ACCEPTED,
    ) -> None:
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
                # asyncio tries to accept this many even if the process has no free descriptors.
                backlog=accepted,
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_keep_alive=settings.idle_seconds,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._on_started = on_started
        self._interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and signal it."""
        asyncio.get_running_loop().set_exception_handler(self._log_exception)
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)
        self._on_started()

    def _log_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            # asyncio retries every second.
            self._seldom.error(f"No connection can be accepted: {error.strerror}.")
        elif not (isinstance(error, OSError) and "transport" in context):  # the peer is gone
            loop.default_exception_handler(context)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to `stopped_by_signals`, which handles them before and after, too."""
        yield

    @contextmanager
    def stopped_by_signals(self) -> Generator[None]:
        """Make SIGINT and SIGTERM stop it, in the main thread; a second SIGINT ends the process."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self.handle_exit) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, or end at once at the second interrupt.

        Committed data is safe whenever it ends.
        """
        if sig == signal.SIGINT:
            if self._interrupted:
                os._exit(128 + sig)
            self._interrupted = True
        self.stop()

    def stop(self) -> None:
        """Finish the running requests, then end."""
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises StartError if the address can't be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle's algorithm (which delays answers by 40 ms) only if TCP is explicit,
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
        advice = (
            "Choose another address with --host."
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            else "Choose another one with --port, or let the system choose with --port 0."
        )
        raise StartError(
            f"Port {port} of {host} can't be used: {error.strerror}. {advice}"
        ) from error


def allowed_hosts(listener: socket.socket, host: str) -> frozenset[str] | None:
    """Return the Host names that clients may use; host: the name that the socket was bound to."""
    return guard.hosts_for(listener.getsockname()[0], host)


def serve(
    host: str,
    port: int,
    database_url: str,
    api_keys: Sequence[str],
    *,
    sampling: Sampling = "uniform",
    sandbox: Sandbox = "none",
    keep_logs: timedelta | None = None,
    providers: Sequence[str] = (),
    provider_seconds: float = 600,
    workers: int = 1,
    verbose: bool = False,
    as_json: bool = False,
    out: TextIO | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; write to `out` when it serves, and when it has stopped.

    api_keys: if empty, the key kept beside the database, or a new one.
    as_json: write one JSON object at the start, and nothing at the end.
    workers: the number of processes; more than one needs PostgreSQL.

    Raises StartError if the server can't start.
    """
    if workers > 1 and urls.is_sqlite(urls.parse(database_url)):
        raise StartError(
            f"A SQLite file can be served by one process only, got {workers}: use PostgreSQL."
        )
    _log_to_stderr(verbose=verbose)
    keys = _Keys.find(api_keys, database_url)
    with bind(host, port) as listener:
        settings = Settings(
            sampling=sampling,
            sandbox=sandbox,
            keep_logs=keep_logs,
            providers=providers,
            provider_limits=ProviderLimits(seconds=provider_seconds),
            allowed_hosts=allowed_hosts(listener, host),
            key_place=keys.place,
        )

        def greet() -> None:
            greeting = Welcome(
                url_of(listener),
                urls_elsewhere(listener),
                database_url,
                keys.file,
                keys.shown_once,
                settings.registry.describe(),
            )
            print(greeting.to_json() if as_json else greeting.to_text(), file=out, flush=True)

        if workers > 1:
            work = partial(_work, listener, database_url, keys.values, settings, verbose)
            supervise(work, workers, greet)
        else:
            app = create_app(database_url, keys.values, settings)
            keys.keep()
            _serve_alone(app, settings, listener, greet)
        if not as_json:
            print("\nStopped.", file=out, flush=True)


def _serve_alone(
    app: ASGIApp, settings: Settings, listener: socket.socket, greet: Callable[[], None]
) -> None:
    """Serve in this process until it is stopped, or its output is closed or full."""
    _answer_evenly()
    failed: list[OSError] = []

    def greet_or_stop() -> None:
        try:
            greet()
        except OSError as error:
            failed.append(error)
            server.stop()

    server = Server(app, settings, greet_or_stop)
    with server.stopped_by_signals():
        server.run([listener])
    if failed:
        raise failed[0]


@dataclass
class _Keys:
    """The keys that the server accepts.

    file: the file of the only key, or the file for it if it is new.
    """

    values: Sequence[str]
    file: Path | None = None
    is_new: bool = False

    @classmethod
    def find(cls, given: Sequence[str], database_url: str) -> _Keys:
        """Return the given keys, else the key beside the database, else a new one."""
        if given:
            return cls(given)
        path = key_file.path_beside(database_url)
        kept = None if path is None else key_file.read(path)
        return cls([kept or new_api_key()], path, is_new=kept is None)

    def keep(self) -> None:
        """Write a new key to its file, once the database is this server's; else it is shown."""
        if self.is_new and self.file is not None:
            try:
                key_file.keep(self.file, self.values[0])
            except OSError as error:
                logger.warning("The key can't be stored in %s: %s.", self.file, error.strerror)
                self.file = None

    @property
    def shown_once(self) -> str | None:
        """Return a new key that is kept nowhere."""
        return self.values[0] if self.is_new and self.file is None else None

    @property
    def place(self) -> str:
        """Return the place of the keys, as a sentence."""
        if self.file is not None:
            return f"The key is in the file {self.file.name}, beside the server's database."
        if self.is_new:
            return "The server showed its key when it started."
        return "The keys are those that the server was started with."


def _work(
    listener: socket.socket,
    database_url: str,
    keys: Sequence[str],
    settings: Settings,
    verbose: bool,
    parent: Parent,
) -> None:
    """Serve as one of several processes, until the parent ends it."""
    _log_to_stderr(verbose=verbose)
    try:
        app = create_app(database_url, keys, settings)
    except StartError as error:
        parent.tell_failure(str(error))
        return
    _answer_evenly()
    server = _WorkerServer(app, settings, parent.tell_started, accepted=1)
    parent.on_end(server.stop)
    with server.stopped_by_signals():
        server.run([listener])


class _WorkerServer(Server):
    """A server that its parent stops; an interrupt from the terminal goes to the parent."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on any other signal, which is for this process alone."""
        if sig != signal.SIGINT:
            self.stop()


def _answer_evenly() -> None:
    """Keep long computations of one request from delaying the others, in a dedicated process.

    A garbage collection stops every thread, and takes longer the more objects exist. The objects
    that exist from the start stay anyway, and large bodies have many objects, hardly any of them in
    a cycle. A computing thread yields after a millisecond, since a request with several queries in
    a row waits for it each time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.001)


def _log_to_stderr(*, verbose: bool) -> None:
    """Show warnings and errors of the server, and with `verbose` one line for each request."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("humanloop.server").setLevel(logging.INFO if verbose else logging.WARNING)
