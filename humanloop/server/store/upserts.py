"""Inserts of rows that may exist already, many in one statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite

Rows = Sequence[Mapping[str, Any]]
_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def insert_new(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert the rows that violate no unique constraint."""
    if rows:
        statement = _INSERTS[connection.dialect.name](table).on_conflict_do_nothing()
        connection.execute(statement, rows)


def add_up(connection: Connection, table: Table, column: str, rows: Rows) -> None:
    """Insert the rows, or add their column to that of the row with the same primary key.

    A row whose column becomes zero is deleted.
    """
    if not rows:
        return
    statement = _INSERTS[connection.dialect.name](table)
    total = table.c[column] + statement.excluded[column]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={column: total}
        ),
        rows,
    )
    fewer = [row for row in rows if row[column] < 0]
    if fewer:
        keys = [each.name for each in table.primary_key]
        same = (table.c[key] == bindparam(f"key_{key}") for key in keys)
        connection.execute(
            delete(table).where(table.c[column] == 0, *same),
            [{f"key_{key}": row[key] for key in keys} for row in fewer],
        )
