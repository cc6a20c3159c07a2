"""Form batches of records, put them in order, and interpret an answer for each record.

Invariants: all functions are pure. Feedback and updates are sent after the logs that were read
with them, and a log after its parent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from humanloop.exceptions import ApiException
from humanloop.spool.directory import Segment
from humanloop.spool.segments import split_body

__all__ = [
    "ACTIONS",
    "BY_REFERENCE",
    "FEEDBACK",
    "LOG",
    "UPDATE",
    "Item",
    "Verdict",
    "body_of",
    "in_order",
    "item_of",
    "update_of",
    "verdicts",
]

LOG = "logs.log"
FEEDBACK = "feedback_api.feedback"
BY_REFERENCE = "feedback_api.feedback by reference"
"""Feedback whose `data_id` holds the reference ID of its log."""
UPDATE = "logs.update_by_ref"
"""An update of a log, with the log's reference ID beside it."""
ACTIONS = (LOG, FEEDBACK, BY_REFERENCE, UPDATE)

Verdict = Literal["known", "early", "refused"]
"""Why the server does not accept an item: the server has it already; or the item names a log that
the server does not know yet; or the server will never accept it."""


class Item:
    """A pending record. tries: how often it was put off; since: the time of the first of these."""

    __slots__ = ("action", "data", "names", "parent", "segment", "since", "start", "tries")

    def __init__(
        self, segment: Segment, start: int, action: str, data: bytes, names: str, parent: str
    ) -> None:
        self.segment = segment
        self.start = start
        self.action = action
        self.data = data
        self.names = names  # the reference ID of this log, or the ID of the log that it is about
        self.parent = parent
        self.tries = 0
        self.since = 0.0


def item_of(segment: Segment, start: int, body: bytes) -> Item:
    """Return the item of a record; its action is unknown if this version can't read the record."""
    action, data = split_body(body)
    if action not in ACTIONS:
        return Item(segment, start, action, data, "", "")
    try:
        read: Any = json.loads(data)
        names = read.get("reference_id" if action in {LOG, UPDATE} else "data_id", "")
        parent = read.get("parent_reference_id", "")
    except (ValueError, AttributeError, RecursionError):
        return Item(segment, start, "", data, "", "")
    if not isinstance(names, str) or not isinstance(parent, str):
        return Item(segment, start, "", data, "", "")
    return Item(segment, start, action, data, names, parent)


def in_order(items: Sequence[Item]) -> list[list[Item]]:
    """Return the items as batches, in the order of sending; each batch is one request.

    A parent can't be in the array of its child (OpenAPI, LogRequest), so logs are grouped by the
    number of their ancestors among the items. Each update is a request of its own.
    """
    logs = {item.names: item for item in items if item.action == LOG}
    depths: dict[str, int] = {}

    def depth_of(item: Item) -> int:
        line = [item]
        while line[-1].names not in depths:
            parent = logs.get(line[-1].parent)
            if parent is None or parent in line:
                break
            line.append(parent)
        depth = depths.get(line[-1].names, 0)
        for each in reversed(line):
            depth = depths.setdefault(each.names, depth) + 1
        return depths[item.names]

    levels: dict[int, list[Item]] = {}
    rounds: list[list[Item]] = []
    for item in items:
        if item.action == LOG:
            levels.setdefault(depth_of(item), []).append(item)
        elif rounds and rounds[-1][0].action == item.action != UPDATE:
            rounds[-1].append(item)
        else:
            rounds.append([item])
    return [*(levels[depth] for depth in sorted(levels)), *rounds]


def update_of(reference_id: str, body: bytes) -> bytes:
    """Return the JSON of an update; body: the body of its request."""
    return b'{"reference_id":%b,"body":%b}' % (json.dumps(reference_id).encode(), body)


def body_of(items: Sequence[Item]) -> bytes:
    """Return the body of a request with these items, which were validated when written."""
    if items[0].action == UPDATE:
        return items[0].data[len(update_of(items[0].names, b"")) - 1 : -1]
    return b"[" + b",".join([item.data for item in items]) + b"]"


class Judged(NamedTuple):
    """The verdict on one item: the item's index, the verdict, and the server's reason."""

    item: int
    verdict: Verdict
    reason: str


def verdicts(error: ApiException, items: Sequence[Item]) -> list[Judged]:
    """Return a 422's verdicts on single items; none if it names no item."""
    found: dict[int, Judged] = {}
    for entry in _entries(error.body):
        place: list[Any] = entry["loc"]
        index, message = int(place[1]), str(entry.get("msg", ""))
        if index >= len(items):
            return []
        verdict = _verdict(items[index].action, place[2:], str(entry.get("type", "")), message)
        # Without the index, which has a meaning only within this request.
        reason = ": ".join(filter(None, (".".join(map(str, place[2:])), message)))
        # Another error outweighs "known" and "early".
        if index not in found or verdict == "refused":
            found[index] = Judged(index, verdict, reason)
    return list(found.values())


def _entries(body: Any) -> list[Mapping[str, Any]]:
    """Return the entries of a 422 whose `loc` begins with `body` and the index of an item."""
    detail: Any = cast("dict[str, Any]", body).get("detail") if isinstance(body, dict) else None
    entries = cast("list[object]", detail) if isinstance(detail, list) else []
    return [
        cast("Mapping[str, Any]", entry)
        for entry in entries
        if isinstance(entry, dict) and _names_an_item(cast("dict[str, Any]", entry).get("loc"))
    ]


def _names_an_item(place: Any) -> bool:
    if not isinstance(place, list):
        return False
    match cast("list[object]", place):
        case ["body", int(index), *_]:
            return index >= 0 and not isinstance(index, bool)
        case _:
            return False


def _verdict(action: str, place: Sequence[Any], kind: str, message: str) -> Verdict:
    if place == ["reference_id"] and ("unique" in kind or "already" in message):
        return "known"
    if place == ["unset"]:
        return "known"  # an earlier attempt has already removed this feedback
    missing = ["data_id"] if action == BY_REFERENCE else ["parent_reference_id"]
    return "early" if place == missing and kind != "not" else "refused"
