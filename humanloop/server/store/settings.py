"""What whoever starts a server decides about its connections to PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatabaseSettings:
    """Hold the limits of a process on a PostgreSQL; SQLite has none of them.

    connections: how many the process opens at most; one writes, the others read. All processes
        together must stay below the database's `max_connections`.
    connect_seconds: how long to try to connect.
    wait_seconds: how long a request that reads waits for a connection.
    lock_seconds, statement_seconds, idle_seconds: PostgreSQL's `lock_timeout`, `statement_timeout`
        and `idle_in_transaction_session_timeout`, unless the database or the role has its own.
    """

    connections: int = 8
    connect_seconds: int = 10
    wait_seconds: float = 10
    lock_seconds: float = 10
    statement_seconds: float = 30
    idle_seconds: float = 60
