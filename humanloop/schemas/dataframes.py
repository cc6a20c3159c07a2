"""Records, such as logs, as flat rows and columns: for pandas, polars and the like.

`to_records` makes a row from each record, `to_columns` columns from all, `to_dataframe` a pandas
DataFrame; only that call imports pandas.

Invariants: every row has the same columns, and a column has values of one type, and None. The same
records give the same columns, whether they are instances or plain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any, TypeAlias, cast

from humanloop.exceptions import ApiTypeError
from humanloop.schemas.casting import is_array, is_mapping, is_object, is_sequence, type_of
from humanloop.schemas.formats import parse_datetime
from humanloop.schemas.writing import to_primitive

__all__ = ["to_columns", "to_dataframe", "to_records"]

Path: TypeAlias = "tuple[str, ...]"
"""The key of a record, followed by the key of an object under it, if there is one."""

_TIMES = {"created_at", "updated_at", "last_used"}
"""The names of the API's date-times, which are text in plain records."""

_FRACTIONS = {
    *("duration", "provider_latency", "temperature", "top_p"),
    *("presence_penalty", "frequency_penalty", "mean", "spread"),
}
"""The names of the API's numbers that may have a fraction, even if none of the present values has
one.
"""

_AS_JSON = {"provider_response"}
"""The objects that become one column: they come from another API, and have their own shape."""

_INT64 = range(-(2**63), 2**63)


def to_records(records: Any) -> list[dict[str, Any]]:
    """Return a flat dict for each record, all with the same keys; see `to_columns`."""
    columns = to_columns(records)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def to_columns(records: Any) -> dict[str, list[Any]]:
    """Return the columns of a table with a row for each record.

    records: instances or plain dicts: any iterable of them (such as a page iterator), a page, an
        ApiResponse with such a body, or one record.

    An object in a record becomes a column for each of its keys (`config.model`, `inputs.question`).
    Arrays, objects further inside, and `provider_response` become JSON text. Feedback becomes a
    column for each of its types (`feedback.rating`) with the value, or all different ones joined by
    "; "; its time and user are omitted. A record's own key that equals the name of another column,
    such as "inputs.question", gets a column with a `_` after its name.

    Numbers are float if any in the column has a fraction, may have one according to the API
    (`duration`, `config.temperature`), or needs more than 64 bits; else int. Date-times are aware
    datetimes in UTC. Absent values are None. A column with values of several types becomes text.

    Raises:
        ApiTypeError: `records` are not records.
        ApiValueError: they contain a value that JSON can't represent.
    """
    rows = [_flat(to_primitive(record)) for record in _records_in(records)]
    titles = _titles(paths := _paths(rows))
    return {titles[p]: _unified(p[-1], [row.get(p) for row in rows]) for p in paths}


def to_dataframe(records: Any) -> Any:
    """Return a pandas DataFrame with a row for each record; see `to_columns`.

    Its columns are float64, Int64, boolean, datetime64[ns, UTC], or pandas' type for strings.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        pandas: Any = import_module("pandas")
    except ImportError as error:
        raise ImportError("to_dataframe needs pandas: pip install pandas") from error
    columns = to_columns(records)
    series = {name: _series(pandas, values) for name, values in columns.items()}
    return pandas.DataFrame(series, columns=list(columns))


# -- records --------------------------------------------------------------------------------------


def _records_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the records in any accepted value."""
    if not is_mapping(value) and not is_sequence(value):
        value = getattr(value, "body", value)  # an ApiResponse
    if is_mapping(value):
        records = value.get("records")
        if not is_sequence(records) or "total" not in value:
            yield value
            return
        value = records  # a page
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        came = type_of(value).__name__
        raise ApiTypeError(f"expected records: a page, or an iterable of objects, got {came}")
    for item in cast("Any", value):
        yield from _records_in(item)


def _flat(record: Mapping[str, Any]) -> dict[Path, Any]:
    """Return the row of a plain record."""
    row: dict[Path, Any] = {}
    for name, item in record.items():
        if name == "feedback":
            row.update(_feedback(item))
        elif is_object(item) and name not in _AS_JSON:
            row.update({(name, key): _cell(member) for key, member in item.items()})
        else:
            row[name,] = _cell(item)
    return row


def _feedback(feedback: Any) -> dict[Path, Any]:
    """Return a cell for each type of a log's feedback, which is one object or an array."""
    values: dict[Path, list[Any]] = {}
    for each in feedback if is_array(feedback) else [feedback]:
        if is_object(each) and "type" in each:
            values.setdefault(("feedback", str(each["type"])), []).append(_cell(each.get("value")))
        elif each is not None:
            values.setdefault(("feedback",), []).append(_cell(each))
    return {path: _joined(cells) for path, cells in values.items()}


def _joined(cells: list[Any]) -> Any:
    """Return the only value, or the text of all different values."""
    # Keep booleans apart, since True equals 1.
    different: dict[Any, Any] = {(isinstance(c, bool), c): c for c in cells if c is not None}
    if len(different) > 1:
        return "; ".join(map(_text, different.values()))
    return next(iter(different.values()), None)


def _cell(item: Any) -> Any:
    return _text(item) if is_object(item) or is_array(item) else item


def _text(item: Any) -> str:
    if isinstance(item, (str, Decimal)):
        return str(item)
    return json.dumps(item, ensure_ascii=False)


# -- columns --------------------------------------------------------------------------------------


def _paths(rows: list[dict[Path, Any]]) -> list[Path]:
    """Return all columns: the record's own first, then those of objects in it.

    A column that not all rows have is placed as in the rows that have it.
    """
    paths: list[Path] = []
    known: set[Path] = set()
    for row in rows:
        place = 0
        for path in row if row.keys() - known else ():
            if path in known:
                place = paths.index(path)
            else:
                paths.insert(place, path)
                known.add(path)
            place += 1
    # A key is no column if it is null or empty where other rows have an object.
    objects = {path[:1] for path in paths if len(path) > 1} & known
    empty = {path for path in objects if all(row.get(path) is None for row in rows)}
    return sorted((path for path in paths if path not in empty), key=len)


def _titles(paths: list[Path]) -> dict[Path, str]:
    """Return the name of each column: `inputs.question`, even if a key contains a dot itself."""
    titles: dict[Path, str] = {}
    taken: set[str] = set()
    for path in sorted(paths, key=len, reverse=True):
        title = ".".join(path)
        while title in taken:
            title += "_"
        taken.add(title)
        titles[path] = title
    return titles


def _unified(key: str, values: list[Any]) -> list[Any]:
    """Return the values of a column, all converted to one type."""
    kinds = {_kind(value) for value in values if value is not None}
    if kinds == {"text"} and key in _TIMES:
        with suppress(ValueError, OverflowError):
            return [None if v is None else _moment(v) for v in values]
    has_fractions = "number" in kinds or key in _FRACTIONS
    if has_fractions and kinds <= {"integer", "number"}:
        return [None if v is None else float(Decimal(v)) for v in values]
    if len(kinds) > 1:
        return [None if v is None else _text(v) for v in values]
    return values


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float, Decimal)):
        return "integer" if isinstance(value, int) and value in _INT64 else "number"
    return "text"


def _moment(text: str) -> datetime:
    return parse_datetime(text).astimezone(timezone.utc)


def _series(pandas: Any, values: list[Any]) -> Any:
    """Return a pandas column."""
    first = next((value for value in values if value is not None), None)
    if isinstance(first, datetime):
        moments = pandas.Series(values, dtype="datetime64[us, UTC]")
        with suppress(pandas.errors.OutOfBoundsDatetime):  # nanoseconds end in the year 2262
            return moments.astype("datetime64[ns, UTC]")
        return moments
    types = {bool: "boolean", int: "Int64", float: "float64", str: None, type(None): "object"}
    return pandas.Series(values, dtype=types[type(first)])
