"""The operator's settings for connections to PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatabaseSettings:
    """The limits of a process on a PostgreSQL; they do not apply to SQLite.

    connections: the most connections of the process; one writes, the others read. All processes
        together must stay below the database's `max_connections`.
    connect_seconds: how long to try to connect.
    wait_seconds: how long a reading request waits for a connection.
    lock_seconds, statement_seconds, idle_seconds: PostgreSQL's `lock_timeout`, `statement_timeout`
        and `idle_in_transaction_session_timeout`, unless the database or the role has its own.
    """

    connections: int = 8
    connect_seconds: int = 10
    wait_seconds: float = 10
    lock_seconds: float = 10
    statement_seconds: float = 30
    idle_seconds: float = 60
