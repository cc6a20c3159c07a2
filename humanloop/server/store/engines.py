"""SQLAlchemy engines: the connections to each kind of database."""

from __future__ import annotations

import logging
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, NullPool, event
from sqlalchemy import create_engine as _create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError

from humanloop.extras import how_to_install
from humanloop.server.errors import StartError
from humanloop.server.store import urls
from humanloop.server.store.settings import DatabaseSettings

# Callers get the errors; a log of them is for programs that configure one.
logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
_BUSY_SECONDS = "10"  # how long to wait while another program writes to a SQLite file
_READERS = 40  # the most threads in Starlette's pool for sync work
_TCP = {  # notices a lost peer within a minute
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# Keeps the settings that the database's or the role's owner has made.
_SET_LIMITS = """
    SELECT set_config(name, wanted.value, false)
    FROM unnest(%s::text[], %s::text[]) AS wanted(name, value) JOIN pg_settings USING (name)
    WHERE source = 'default'
"""


def for_schema(url: URL) -> Engine:
    """Return an engine for schema changes, without a time limit."""
    if urls.is_sqlite(url):
        return _sqlite(url, foreign_keys=False)  # a table is changed by replacing it
    return _create(url, connect_args=_arguments(url, DatabaseSettings()), poolclass=NullPool)


def for_reading(url: URL) -> Engine:
    """Return an engine that creates and changes nothing, and reads without a time limit."""
    if not urls.is_sqlite(url):
        return _create(
            url,
            connect_args=_arguments(url, DatabaseSettings()),
            isolation_level="REPEATABLE READ",
        )
    location = Path(url.database or "").resolve().as_uri()
    options = {"mode": "ro", "uri": "true", "timeout": _BUSY_SECONDS}
    engine = _create(url.set(database=location).update_query_dict(options))
    event.listen(engine, "connect", _begin_ourselves)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def for_use(
    url: URL, settings: DatabaseSettings, *, foreign_keys: bool = True
) -> tuple[Engine, Engine]:
    """Return an engine for reading and one for writing, so that readers can't starve writers."""
    if urls.is_sqlite(url):
        engine = _sqlite(url, foreign_keys=foreign_keys)
        return engine, engine
    arguments = _arguments(url, settings)
    readers, writer = (
        _create(
            url,
            connect_args=arguments,
            pool_size=size,
            max_overflow=0,
            pool_timeout=settings.wait_seconds,
            pool_pre_ping=True,
            isolation_level=isolation,
        )
        # A writer's statements each see the latest commits; a reader's all see the same state.
        for size, isolation in (
            (max(settings.connections - 1, 1), "REPEATABLE READ"),
            (1, "READ COMMITTED"),
        )
    )
    for engine in (readers, writer):
        event.listen(engine, "connect", partial(_limit, settings))
    return readers, writer


def _create(url: URL, **options: Any) -> Engine:
    try:
        # The values of a failed statement are the users' data: they belong in no log.
        return _create_engine(urls.without_secrets(url), hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise StartError(
            f"A database at {url.drivername}:// needs the package {error.name!r}, which is not "
            f"installed; {how_to_install('postgres')}"
        ) from error
    except (ValueError, ArgumentError) as error:
        said = urls.redact(url, str(error))
        raise StartError(f"An option of the database's URL can't be used: {said}.") from error


def _sqlite(url: URL, *, foreign_keys: bool) -> Engine:
    if "timeout" not in url.query:
        url = url.update_query_dict({"timeout": _BUSY_SECONDS})
    engine = _create(url, max_overflow=_READERS)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    if foreign_keys:
        event.listen(engine, "connect", _enforce_foreign_keys)
    return engine


def _arguments(url: URL, settings: DatabaseSettings) -> dict[str, Any]:
    """Return libpq's arguments, except those in the URL."""
    ours = {"connect_timeout": settings.connect_seconds, "application_name": "humanloop", **_TCP}
    given = {key: value for key, value in ours.items() if key not in url.query}
    return {**given, **urls.secret_options(url)}


def _limit(settings: DatabaseSettings, connection: Any, _record: object) -> None:
    limits = {
        "lock_timeout": settings.lock_seconds,
        "statement_timeout": settings.statement_seconds,
        "idle_in_transaction_session_timeout": settings.idle_seconds,
    }
    milliseconds = [str(round(seconds * 1000)) for seconds in limits.values()]
    connection.autocommit = True
    connection.execute(_SET_LIMITS, (list(limits), milliseconds))
    connection.autocommit = False


def _begin_ourselves(connection: sqlite3.Connection, _record: object) -> None:
    # Only _begin_sqlite begins transactions, so that they include schema changes and reads.
    connection.isolation_level = None


def _configure_sqlite(connection: sqlite3.Connection, record: object) -> None:
    _begin_ourselves(connection, record)
    # Must be set before the file has content; later it would need a VACUUM, and setting it would
    # take the writer's lock.
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    # SQLite's own lower() knows ASCII only.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _enforce_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
