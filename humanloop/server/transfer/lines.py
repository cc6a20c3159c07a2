"""The lines of a file of logs: their content and their faults.

A line is a LogResponse, as in an export, or the body of a request to POST /logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.exc import DataError

from humanloop.model import LogRequest, LogResponse
from humanloop.server.errors import Invalid, Location, Problem, invalid
from humanloop.server.http.body import check, decode
from humanloop.server.http.places import long_key
from humanloop.server.operations import configs
from humanloop.server.operations.arrivals import Draft
from humanloop.server.store.json_text import to_json
from humanloop.server.store.key_text import KeyTooLong
from humanloop.server.transfer.formats import Line

_ID_LENGTH = 40
_TEXTS = ("user", "raw_output", "finish_reason")
_PROVIDER = ("provider_request", "provider_response", "provider_latency")
_TAKEN = (
    "project",
    "project_id",
    "inputs",
    "source",
    "metadata",
    "reference_id",
    "messages",
    "output",
    "created_at",
    "error",
    "duration",
    "parent_id",
)
"""The keys of a LogResponse that a request can have, except those that are restored separately."""


@dataclass(frozen=True)
class BadLine:
    """A line that can't be imported: its number, the place of the fault, and the expected value."""

    number: int
    pointer: str
    message: str
    text: bytes

    def __str__(self) -> str:
        place = f" at {self.pointer}" if self.pointer else ""
        return f"line {self.number}{place}: {self.message}"


@dataclass(frozen=True)
class Item:
    """A parsed line: `record` is a LogResponse, or None for a request."""

    line: Line
    draft: Draft
    record: Mapping[str, Any] | None


def read(line: Line, id_: str | None, project: str | None) -> Item:
    """Return a parsed line, checked as far as possible by itself; raises Invalid, TooDeep."""
    decoded = _value(line)
    if not isinstance(decoded, dict):
        raise invalid(("body",), "expected a JSON object", "type")
    value = cast("dict[str, Any]", decoded)
    is_record = "id" in value
    if is_record:
        check(value, LogResponse, "response")
        _check_ids(value, ("body",))
        request = _request_again(value)
    else:
        request = {**check(value, LogRequest, "request")}
        if "config" not in request and "trial_id" not in request:
            raise invalid(("body", "config"), "`config` is needed", "required")
    if project is not None:
        request = {key: each for key, each in request.items() if key != "project_id"}
        request["project"] = project
    elif is_record and "project" not in request:
        raise invalid(("body", "project"), "the name of its project is needed", "required")
    if not is_record:
        return Item(line, _draft(request, id_, {}), None)
    draft = _draft(request, value["id"], value)
    draft.is_use = False
    return Item(line, draft, value)


def _draft(request: dict[str, Any], id_: str | None, record: Mapping[str, Any]) -> Draft:
    """Return the draft of a log; raises Invalid.

    record: provides the columns that no request has; all drafts have the same columns, so that they
        can be written together.
    """
    others: dict[str, Any] = {key: record.get(key) for key in _TEXTS}
    others |= {key: to_json(record[key]) if key in record else None for key in _PROVIDER}
    return Draft(request, ("body",), id=id_, **others)


def _request_again(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request that would log a record, as far as a request can."""
    request = {key: record[key] for key in _TAKEN if key in record}
    given = record.get("feedback", [])
    request["feedback"] = [given] if isinstance(given, dict) else given
    request["config"] = configs.request_of(record["config"])
    return request


def _value(line: Line) -> Any:
    if line.cells is not None and "" in line.cells:
        raise invalid(("body",), line.cells[""])
    try:
        return decode(line.text)
    except Invalid as error:
        for name, cell in (line.cells or {}).items():
            try:
                decode(cell.encode())
            except Invalid as fault:
                raise _within(fault, ("body", name), "the cell") from None
        raise _within(error, ("body",), "the line") from None


def _within(error: Invalid, location: Location, what: str) -> Invalid:
    """Return the error of a text that was parsed as a body, with its location in the line."""
    problem = error.problems[0]
    message = problem.message.replace("the body", what)
    return invalid((*location, *problem.location[1:]), message, problem.keyword)


def _check_ids(value: Mapping[str, Any], location: Location) -> None:
    """Raise Invalid for an invalid id, since it comes from outside and is kept unchanged."""
    for key in ("id", "project_id", "session_id", "parent_id", "trial_id"):
        if key in value and not _is_id(value[key]):
            message = f"an id has 1 to {_ID_LENGTH} letters, digits, - and _"
            raise invalid((*location, key), message, "pattern")
    for key in ("config", "model_config"):
        if isinstance(value.get(key), dict):
            _check_ids(value[key], (*location, key))
    for index, tool in enumerate(value.get("tool_configs", ())):
        _check_ids(tool, (*location, "tool_configs", index))
    if value.get("parent_id", "") == value.get("id"):
        raise invalid((*location, "parent_id"), "a log can't be its own parent", "not")


def _is_id(text: str) -> bool:
    plain = text.replace("-", "").replace("_", "")
    return len(text) <= _ID_LENGTH and plain.isascii() and plain.isalnum()


def blame(line: Line, problem: Problem) -> BadLine:
    path = problem.location[1:]
    if path and isinstance(path[0], int):
        path = path[1:]
    pointer = "".join(f"/{str(each).replace('~', '~0').replace('/', '~1')}" for each in path)
    return BadLine(line.number, pointer, problem.message, line.text)


def blame_for(item: Item, fault: DataError | KeyTooLong) -> BadLine:
    """Return the bad line for values that the database can't keep."""
    if isinstance(fault, KeyTooLong):
        written = {**(item.record or {}), **item.draft.request}
        return blame(item.line, long_key({"body": written}, fault).problems[0])
    message = "it holds text that this database can't store"
    return BadLine(item.line.number, "", message, item.line.text)
