"""Samples: plain data that fits a schema, or that an operation could answer with.

Invariants: the same sample is made each time; it is the caller's to change; and it fits its schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from humanloop import schemas
from humanloop.apis.operations import OPERATIONS
from humanloop.exceptions import ApiValueError
from humanloop.operation import PACKAGE, Operation
from humanloop.schemas.nodes import Node
from humanloop.secrets import did_you_mean

__all__ = ["operation_named", "sample", "sample_body", "sample_events"]


def operation_named(name: str, operations: Iterable[Operation] = OPERATIONS) -> Operation:
    """Return the operation of a name such as `projects.get`; raise ApiValueError for none."""
    by_name = {operation.name: operation for operation in operations}
    if name not in by_name:
        raise ApiValueError(f"the API has no operation {name!r}{did_you_mean(name, by_name)}")
    return by_name[name]


def sample(of: str | Operation | type[schemas.Schema]) -> Any:
    """Return plain data that fits a schema class, or that an operation returns.

    of: the class, the operation, or the name of the operation.

    It has the required keys and, down to the second level of objects, the optional ones, but no
    `error` and no parent. None for an operation that returns nothing.

    Raises:
        ApiValueError: there is no operation of that name.
        SchemaValidationError: no value is known to fit the schema, such as one with a `pattern`.
    """
    operation = operation_named(of) if isinstance(of, str) else of
    schema = operation.response_schema if isinstance(operation, Operation) else operation
    if schema is None:
        return None
    made = _Sampler().make(schema.node)
    schema.validate(made)
    return made


def sample_body(operation: Operation, parameters: Mapping[str, Any], sent: Any) -> Any:
    """Return a body that fits an operation, and the request where that is easy; None: it has none.

    parameters, sent: of the request, decoded. What the path names comes back; the first page has
    the only record; who sends a list gets a list of that length, and who sends one item gets one.
    """
    if operation.response_schema is None:
        return None
    node = operation.response_schema.node.resolved
    wanted = "array" if isinstance(sent, list) else "object"
    node = next((b.resolved for b in node.any_of if b.resolved.type == wanted), node)
    if wanted == "array" and node.items is not None:
        count = len(cast("list[Any]", sent))
        return [_Sampler(number=number).make(node.items) for number in range(1, count + 1)]
    body = _Sampler().make(node)
    if isinstance(body, dict):
        _echo(operation, parameters, cast("dict[str, Any]", body))
    return cast(Any, body)


def _echo(operation: Operation, parameters: Mapping[str, Any], body: dict[str, Any]) -> None:
    in_path = [p.name for p in operation.parameters if p.location == "path"]
    texts = {k: v for k, v in parameters.items() if k in in_path}
    body.update({k: v for k, v in texts.items() if isinstance(body.get(k), str)})
    if {"records", "total", "page"} <= body.keys():
        defaults = {p.name: p.schema.get("default") for p in operation.parameters}
        asked = {**defaults, **parameters}
        body.update({key: asked[key] for key in ("page", "size") if type(asked.get(key)) is int})
        body["total"] = len(body["records"])
        if body["page"] > (defaults.get("page") or 0):  # the first page has all there is
            body["records"] = []


def sample_events(operation: Operation) -> list[Any]:
    """Return the events of a short stream: an output in two pieces, and the whole at its end.

    Streams of other APIs have one event.
    """
    assert operation.response_schema is not None, "what streams has a schema for its events"
    node = operation.response_schema.node
    whole = _Sampler().make(node)
    if operation.package != PACKAGE:
        return [whole]
    events: list[Any] = []
    for piece in whole["data"][0]["output"].partition(" ")[::2]:
        text = f" {piece}" if events else piece
        event = _Sampler(levels=0).make(node)
        event["data"] = [{**_Sampler(levels=0).make(_data(node)), **_texts(text)}]
        events.append(event)
    events.append({**whole, "data": [{**whole["data"][0], **_texts("")}]})
    return events


def _data(node: Node) -> Node:
    items = node.resolved.properties["data"].resolved.items
    assert items is not None, "streamed events hold data"
    return items


def _texts(text: str) -> dict[str, str]:
    return {"output": text, "raw_output": text}


# The prefix of an id: by the last word of its schema's name, or by the key that refers to it.
_PREFIXES = {
    "config": "config",
    "data": "data",
    "datapoint": "data",
    "environment": "env",
    "evaluation": "ev",
    "evaluator": "evfn",
    "experiment": "exp",
    "feedback": "ann",
    "log": "data",
    "metric": "metric",
    "parent": "data",
    "project": "pr",
    "session": "sesh",
    "team": "tm",
    "testcase": "evtc",
    "testset": "evts",
    "trial": "trial",
    "user": "usr",
}
_WORD = re.compile("[A-Z][a-z]*")
_TEXTS = {"email_address": "ada@example.com", "finish_reason": "stop", "model": "gpt-4"}
_BY_FORMAT = {
    "byte": "c2FtcGxl",
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:30:00Z",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "number": "0.5",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
}
# It went well; and whoever follows an id to the parent, and its parent, comes to an end.
_LEFT_OUT = frozenset({"error", "parent_id", "parent_reference_id"})


class _Sampler:
    """Makes samples of schemas.

    number: ends the ids of the sample; levels: how many levels of objects have their optional keys.
    """

    def __init__(self, number: int = 1, levels: int = 2) -> None:
        self._number = number
        self._levels = levels

    def make(self, node: Node, key: str = "", depth: int = 0, owner: str = "") -> Any:
        """Return a sample of one schema.

        key: the key that it is the value of; depth: how many objects it is in; owner: the name of
        the schema of the innermost of them.
        """
        node = node.resolved
        if values := cast("Sequence[Any]", node.schema.get("enum", ())):
            return schemas.to_primitive(values[0])
        if node.nullable and depth > schemas.MAX_DEPTH:
            return None
        name = node.cls.__name__ if node.cls is not None else owner
        parts = [self.make(branch, key, depth, name) for branch in self._branches(node)]
        if node.type is not None or node.properties or node.required:
            parts.append(self._typed(node, key, depth, name))
        if parts and all(isinstance(part, dict) for part in parts):
            return self._tagged(node, {k: item for part in parts for k, item in part.items()})
        return parts[0] if parts else self._text(node, key, name)

    def _tagged(self, node: Node, made: dict[str, Any]) -> dict[str, Any]:
        """Return an object with the discriminator's value for the branch that it was made of."""
        branches = node.any_of or node.one_of
        if node.discriminator is not None and branches:
            key, choices = node.discriminator["propertyName"], node.choices
            if made.get(key) not in choices:
                first = branches[0].resolved
                values = [value for value in choices if choices[value].resolved is first]
                made[key] = values[-1]
        return made

    def _branches(self, node: Node) -> list[Node]:
        """Return the branches that hold together: all of allOf, the first of a choice."""
        return [*node.all_of, *node.any_of[:1], *node.one_of[:1]]

    def _typed(self, node: Node, key: str, depth: int, owner: str) -> Any:
        match node.type:
            case "string":
                return self._text(node, key, owner)
            case "integer" | "number":
                return self._number_of(node, key)
            case "boolean":
                return bool(node.schema.get("default", False))
            case "array":
                return self._array(node, key, depth, owner)
            case _:
                return self._object(node, depth, owner)

    def _object(self, node: Node, depth: int, owner: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, part in node.properties.items():
            optional = depth < self._levels and key not in _LEFT_OUT
            if (key in node.required or optional) and depth <= schemas.MAX_DEPTH:
                made[key] = self.make(part, key, depth + 1, owner)
        return made

    def _array(self, node: Node, key: str, depth: int, owner: str) -> list[Any]:
        wanted = 1 if depth <= self._levels and node.schema.get("maxItems") != 0 else 0
        count = max(wanted, node.schema.get("minItems", 0))
        items = node.items
        if items is not None and items.resolved.type == "array":
            depth += 1  # an array of arrays may have no other end
        return [self.make(items, key, depth, owner) if items else None for _ in range(count)]

    def _text(self, node: Node, key: str, owner: str) -> Any:
        least, most = node.schema.get("minLength", 0), node.schema.get("maxLength")
        format = node.schema.get("format", "")
        text = node.schema.get("default") or _BY_FORMAT.get(format) or self._words(key, owner)
        return str(text)[:most].ljust(least, "x")

    def _words(self, key: str, owner: str) -> str:
        if key == "id":
            words = _WORD.findall(re.sub("Re(sponse|quest)$", "", owner)) or [""]
            return f"{_PREFIXES.get(words[-1].lower(), 'id')}_{self._number}"
        if key.endswith(("_id", "_ids")) and "reference" not in key:
            return f"{_PREFIXES.get(key.split('_')[-2], 'id')}_1"
        return _TEXTS.get(key) or f"sample {key.replace('_', ' ')}".rstrip()

    def _number_of(self, node: Node, key: str) -> float:
        """Return the first of some numbers that the schema allows."""
        schema = node.schema
        likely: list[Any] = [0, 1] if key == "index" else [1, 0]
        if node.type == "number":
            likely.insert(0, 0.5)
        if "default" in schema:
            likely.insert(0, schema["default"])
        bounds = [schema[k] for k in ("minimum", "maximum", "multipleOf") if k in schema]
        numbers = [*likely, *bounds, *(b + 1 for b in bounds), *(b - 1 for b in bounds)]
        checks = [*node.any_checks, *node.checks.get("number", ())]

        def fits(number: Any) -> bool:
            return all(check.holds(Decimal(str(number))) for check in checks)

        number: float = next(filter(fits, numbers), likely[0])
        return number
