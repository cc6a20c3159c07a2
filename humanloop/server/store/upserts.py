"""Rows that may be there already, in one statement for many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]
_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def insert_new(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert the rows that break no rule of uniqueness."""
    if rows:
        statement = _INSERTS[connection.dialect.name](table).on_conflict_do_nothing()
        connection.execute(statement, rows)


def add_up(connection: Connection, table: Table, column: str, rows: Rows) -> None:
    """Insert the rows, or add their column to that of the row with the same primary key."""
    if rows:
        statement = _INSERTS[connection.dialect.name](table)
        total = table.c[column] + statement.excluded[column]
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(table.primary_key), set_={column: total}
            ),
            rows,
        )
