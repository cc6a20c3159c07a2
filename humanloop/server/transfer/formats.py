"""The files of exported logs: JSON lines, CSV and Parquet.

In each, a log is a LogResponse. JSON lines contain it unchanged. The other formats have a column
for each of its keys: texts are texts, and nested values are JSON. Invariants: a written file can be
read again without loss; only one portion is in memory at a time.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

from humanloop import schemas
from humanloop.extras import how_to_install
from humanloop.model import LogResponse
from humanloop.server.errors import StartError
from humanloop.server.store.times import to_text

if TYPE_CHECKING:
    import duckdb

Record = Mapping[str, Any]
FORMATS = ("jsonl", "csv", "parquet")

_FIELD = 2**31 - 1  # characters in a cell of a CSV file; csv's own limit is 131,072
_ROWS = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Spreadsheets take a text that begins with one of the first six for a formula.
_ESCAPED = ("=", "+", "-", "@", "\t", "\r", '"')
_EXACT = "exact_numbers"


class Line(NamedTuple):
    """A log in a file: its number there, from 1, and its JSON.

    cells: in a file with columns, the JSON of each, to find a faulty one.
    """

    number: int
    text: bytes
    cells: Mapping[str, str] | None = None


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("format") == "date-time":
        return "time"
    kind = schema.get("type")
    return {"string": "text", "number": "number"}.get(str(kind), "json")


_KINDS = {name: _kind(each) for name, each in LogResponse.__openapi__["properties"].items()}
"""By column: `text`, `time`, `number` or `json`."""


def format_of(path: Path | None, given: str | None) -> str:
    """Return the given format, or else that of the file's name.

    Raises StartError if neither determines one.
    """
    if given is not None:
        return given
    if path is None:
        return FORMATS[0]
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    suffix = "jsonl" if ending == "ndjson" else ending
    if suffix in FORMATS:
        return suffix
    names = ", ".join(FORMATS)
    raise StartError(f"The name of {path} does not tell its format: give --format ({names}).")


class Writer(Protocol):
    """The interface of writers of logs."""

    def write(self, records: Iterable[Record]) -> None:
        """Write some logs."""
        ...


@contextmanager
def writer(file: IO[bytes], name: str, *, compress: bool) -> Generator[Writer]:
    """Open a writer of a format on a file; after the block, everything is in the file.

    Raises StartError if a package that the format needs is not installed.
    """
    if name == "parquet":
        with _Parquet.open(file) as parquet:
            yield parquet
    elif compress:
        # Without a name and a time inside, equal logs make equal files.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield _TEXTS[name](packed)
    else:
        yield _TEXTS[name](file)


class _JsonLines:
    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file

    def write(self, records: Iterable[Record]) -> None:
        """Write some logs."""
        self._file.write("".join(f"{schemas.to_json(each)}\n" for each in records).encode())


class _Csv:
    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self._write([list(_KINDS)])

    def write(self, records: Iterable[Record]) -> None:
        """Write some logs."""
        self._write([[_cell(each, name) for name in _KINDS] for each in records])

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())


_TEXTS: Mapping[str, Callable[[IO[bytes] | gzip.GzipFile], Writer]] = {
    "jsonl": _JsonLines,
    "csv": _Csv,
}


def _cell(record: Record, name: str) -> str:
    """Return the text of a cell; an empty cell stands for a missing key."""
    if name not in record:
        return ""
    value = record[name]
    if _KINDS[name] not in {"text", "time"}:
        return schemas.to_json(value)
    return schemas.to_json(value) if not value or value.startswith(_ESCAPED) else str(value)


def _cell_json(name: str, cell: str) -> str:
    """Return the JSON of a non-empty cell."""
    if _KINDS[name] in {"text", "time"} and not cell.startswith('"'):
        return json.dumps(cell, ensure_ascii=False)
    return cell


class _Parquet:
    """A writer of JSON lines, which DuckDB converts to Parquet at the end."""

    _TYPES: Mapping[str, str] = {"time": "TIMESTAMPTZ", "number": "DOUBLE"}

    def __init__(self, rows: IO[bytes]) -> None:
        self._rows = rows
        self._longest = 1

    @classmethod
    @contextmanager
    def open(cls, file: IO[bytes]) -> Generator[_Parquet]:
        """Yield a writer; after the block, everything is in the file."""
        with _duck() as (connection, directory):
            rows, made = directory / "rows.jsonl", directory / "rows.parquet"
            with rows.open("wb") as collected:
                collecting = cls(collected)
                yield collecting
            columns = {name: cls._TYPES.get(kind, "VARCHAR") for name, kind in _KINDS.items()}
            connection.execute(
                "COPY (SELECT * FROM read_json($rows, format = 'newline_delimited',"
                " columns = $columns, maximum_object_size = $longest)) TO $made"
                " (FORMAT parquet, COMPRESSION zstd)",
                {
                    "rows": str(rows),
                    "columns": {**columns, _EXACT: "VARCHAR"},
                    "longest": collecting._longest,
                    "made": str(made),
                },
            )
            with made.open("rb") as source:
                shutil.copyfileobj(source, file)

    def write(self, records: Iterable[Record]) -> None:
        """Write some logs."""
        for each in records:
            line = json.dumps(_flat(each), ensure_ascii=False).encode()
            self._longest = max(self._longest, len(line) + 1)
            self._rows.write(line + b"\n")


def _flat(record: Record) -> dict[str, Any]:
    """Return the columns of a log; values that a double can't hold go into an extra column."""
    row: dict[str, Any] = {}
    exact: dict[str, Any] = {}
    for name, value in record.items():
        kind = _KINDS[name]
        row[name] = schemas.to_json(value) if kind == "json" else value
        if kind == "number":
            row[name] = number = float(Decimal(value))  # infinite if it is too large
            if abs(number) == float("inf"):
                del row[name]
            if schemas.to_json(value) != json.dumps(number):
                exact[name] = value
    return {**row, _EXACT: schemas.to_json(exact)} if exact else row


@contextmanager
def _duck() -> Generator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Yield a connection to DuckDB, and a directory for its files, deleted at the end."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise StartError(
            f"Parquet needs the package 'duckdb'; {how_to_install('parquet')}"
        ) from error
    with (
        tempfile.TemporaryDirectory(prefix="humanloop-") as name,
        closing(
            duckdb.connect(
                config={
                    "autoinstall_known_extensions": "false",
                    "memory_limit": "512MB",
                    "temp_directory": name,
                    "threads": 1,
                }
            )
        ) as connection,
    ):
        try:
            connection.execute("SET enable_progress_bar = false")
            yield connection, Path(name)
        except duckdb.Error as error:
            raise StartError(f"Parquet: {error}") from error


def read(path: Path | None, file: IO[bytes], name: str) -> Iterator[Line]:
    """Yield the logs of a file.

    path: None without one, as for the standard input. Raises StartError for a file of another
        format.
    """
    try:
        if name == "parquet":
            if path is None:
                raise StartError("Parquet is read from a file, not from the standard input.")
            yield from _read_parquet(path)
            return
        # gzip's magic number (RFC 1952, section 2.3.1)
        packed = path is not None and path.suffix.lower() == ".gz"
        with gzip.GzipFile(fileobj=file) if packed else _same(file) as plain:
            yield from (_read_csv if name == "csv" else _read_lines)(plain)
    except (EOFError, gzip.BadGzipFile) as error:
        raise StartError(f"{path} is damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{path} is not in UTF-8: {error.reason}.") from error


@contextmanager
def _same(file: IO[bytes]) -> Generator[IO[bytes]]:
    yield file


def _read_lines(file: Iterable[bytes]) -> Iterator[Line]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield Line(number, line.rstrip(b"\r\n"))


def _read_csv(file: Any) -> Iterator[Line]:
    csv.field_size_limit(_FIELD)
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            head = next(rows, list[str]())
            unknown = [each for each in head if each not in _KINDS]
            if unknown or not head:
                wanted = ", ".join(_KINDS)
                raise StartError(
                    f"The column {(unknown or [''])[0]!r} is unknown; the columns are {wanted}."
                )
            before = rows.line_num
            for row in rows:
                number, before = before + 1, rows.line_num
                if len(row) != len(head) and row:
                    text_of = f"expected {len(head)} cells, got {len(row)}"
                    yield Line(number, b"", {"": text_of})
                elif row:
                    cells = {
                        name: _cell_json(name, cell)
                        for name, cell in zip(head, row, strict=True)
                        if cell
                    }
                    yield _line(number, cells)
        except csv.Error as error:
            raise StartError(f"Line {rows.line_num} is not CSV: {error}.") from error


def _line(number: int, cells: Mapping[str, str]) -> Line:
    members = ",".join(f"{json.dumps(name)}:{cell}" for name, cell in cells.items())
    return Line(number, f"{{{members}}}".encode(), cells)


def _read_parquet(path: Path) -> Iterator[Line]:
    with _duck() as (connection, _):
        columns = connection.from_parquet(str(path)).columns
        names = [each for each in columns if each in _KINDS or each == _EXACT]
        # Read a time as a number, since a datetime needs an extension.
        wanted = [
            f'epoch_us("{each}")' if _KINDS.get(each) == "time" else f'"{each}"' for each in names
        ]
        rows = connection.execute(
            f"SELECT {', '.join(wanted)} FROM read_parquet($path)", {"path": str(path)}
        )
        number = 0
        while found := rows.fetchmany(_ROWS):
            for row in found:
                number += 1
                values = dict(zip(names, row, strict=True))
                exact = json.loads(values.pop(_EXACT, None) or "{}", parse_float=Decimal)
                cells = {
                    name: _column_json(name, value)
                    for name, value in values.items()
                    if value is not None and name not in exact
                }
                cells |= {name: schemas.to_json(value) for name, value in exact.items()}
                yield _line(number, cells)


def _column_json(name: str, value: Any) -> str:
    kind = _KINDS[name]
    if kind == "json":
        return str(value)
    if kind == "time":
        value = to_text(_EPOCH + timedelta(microseconds=value))
    return json.dumps(value, ensure_ascii=False)
