"""The embedded server in a thread of the program that uses it: for tests and for first steps.

It listens before the `with` block begins, so no request is ever refused; every error of the start
is raised in the caller's own thread.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from humanloop.server.errors import StartError
from humanloop.server.http.app import create_app
from humanloop.server.http.running import Server, allowed_hosts, bind, new_api_key
from humanloop.server.http.welcome import url_of
from humanloop.server.operations.calls import Settings


class EmbeddedServer:
    """A running server: `with EmbeddedServer() as server: Humanloop(api_key=..., host=...)`.

    database_url: a SQLAlchemy URL; without one, a temporary file that is deleted at the end.
    api_key: the key that it accepts; without one, a fresh random one.
    port: 0 for any free port.

    A client needs `url` and `api_key`. Raises StartError if the server can't start.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self.api_key = api_key or new_api_key()
        self.url = ""
        self._database_url = database_url
        self._address = (host, port)
        self._settings = settings or Settings()
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(url={self.url!r})"

    def start(self) -> None:
        """Start serving; return once requests are answered."""
        listener = bind(*self._address)
        settings = replace(self._settings, allowed_hosts=allowed_hosts(listener, self._address[0]))
        try:
            app = create_app(
                self._database_url or self._temporary_database(),
                [self.api_key],
                settings,
            )
        except BaseException:
            listener.close()
            self._delete_directory()
            raise
        self.url = url_of(listener)
        settled = threading.Event()
        server = self._server = Server(app, settings, settled.set)

        def run() -> None:
            try:
                server.run([listener])
            finally:
                settled.set()

        self._thread = threading.Thread(target=run, name="humanloop-server", daemon=True)
        self._thread.start()
        settled.wait()
        if not server.started:
            self.stop()
            raise StartError("The embedded server ended while starting: see the log.")

    def stop(self) -> None:
        """Finish the running requests, close the database, and end; idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
        self._server = self._thread = None
        self._delete_directory()

    def _temporary_database(self) -> str:
        self._directory = tempfile.TemporaryDirectory(prefix="humanloop-")
        return f"sqlite:///{Path(self._directory.name) / 'humanloop.db'}"

    def _delete_directory(self) -> None:
        if self._directory is not None:
            self._directory.cleanup()
        self._directory = None
