"""Values as HTML tables, which notebooks show.

Invariants: every text from a value is escaped; no value of a secret name is shown; a table has a
limited size, and says how much it left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any, cast

from humanloop.display import Described, describe, short_text
from humanloop.secrets import shorten

__all__ = ["html_of"]

ROWS = 20
COLUMNS = 10
MEMBERS = 60
"""The most records, columns of records, and members of an object that are shown."""

CELL = 80
"""Characters in a cell of a table of records; a member of an object may have twice as many."""


def html_of(value: Any, caption: str = "") -> str:
    """Return the table of an object, of an array, or of a page (an object with `records`)."""
    described = describe(value)
    if described is None:
        return f"<div>{escape(caption)}<pre>{_text(value, 10 * CELL)}</pre></div>"
    told = [caption, described.name]
    items: Any = described.parts
    if isinstance(described.parts, Mapping) and not described.secret:
        # The rest of a page is a few numbers.
        rest = [item for item in islice(described.items(), MEMBERS) if item[0] != "records"]
        told += [f"{shorten(str(key), CELL)} {short_text(item, CELL)}" for key, item in rest]
        items = described.parts.get("records")
    records = _members_of_all(items)
    if records is not None:
        return _records(", ".join(filter(None, told)), records, len(items))
    return _table(", ".join(filter(None, told[:2])), (), _rows_of(described))


def _members_of_all(items: Any) -> list[dict[Any, Any]] | None:
    """Return the members of the first items of an array of objects; None if it is no such array."""
    if not isinstance(items, (list, tuple)) or not items:
        return None
    described = [describe(item) for item in cast("Sequence[Any]", items)[:ROWS]]
    found = [dict(each.items()) for each in described if each and each.is_object]
    return found if len(found) == len(described) else None


def _records(caption: str, records: list[dict[Any, Any]], count: int) -> str:
    """Return a table with a row for each record, of the first columns that have values.

    IDs of other things tell little to a reader, so they come last.
    """
    # Null of a schema equals None, but is not None itself.
    keys = {key: None for record in records for key, item in record.items() if item != None}  # noqa: E711
    ordered = sorted(keys, key=lambda key: (key != "id", str(key).endswith("_id")))
    columns = ordered[:COLUMNS]
    rows = (
        [_text(record[key], CELL) if key in record else "" for key in columns] for record in records
    )
    more = [
        f"{count - len(records):,} more rows" if count > len(records) else "",
        f"{len(ordered) - COLUMNS:,} more columns" if len(ordered) > COLUMNS else "",
    ]
    return _table(caption, columns, rows, ", ".join(filter(None, more)))


def _rows_of(described: Described) -> Iterator[list[str]]:
    for key, item in islice(described.items(), MEMBERS):
        yield [f"<b>{_text(str(key), CELL)}</b>", _text(item, 2 * CELL)]
    if len(described.parts) > MEMBERS:
        yield ["", f"... {len(described.parts) - MEMBERS:,} more"]


def _text(value: Any, limit: int) -> str:
    text = shorten(value, limit) if isinstance(value, str) else short_text(value, limit)
    return escape(text)


def _table(
    caption: str, columns: Sequence[Any], rows: Iterable[Sequence[str]], more: str = ""
) -> str:
    """Return a table of cells that are HTML already; caption, columns and more are text."""
    head = "".join(f"<th>{_text(str(column), CELL)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    left_out = f"<p>... {escape(more)}</p>" if more else ""
    above = f"<p>{escape(caption)}</p>" if caption else ""
    return (
        f"<div>{above}<table>"
        f"{f'<thead><tr>{head}</tr></thead>' if head else ''}"
        f"<tbody>{body}</tbody></table>{left_out}</div>"
    )


def _cell(content: str) -> str:
    return f'<td style="text-align: left">{content}</td>'
