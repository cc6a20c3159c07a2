"""For tests of code that calls the API: a transport that answers without a server or a network.

    transport = TestTransport()
    client = Humanloop(api_key="test", transport=transport)

It answers every operation, at first with a made-up answer that fits the operation's schema; `reply`
and `stream` say what it is to answer, and `requests` holds what it was asked. What stays true: the
same calls get the same answers; an answer that the API could not give is refused when it is set,
unless `check=False` asks for it; and only the network is replaced, so that validation, retries,
hooks and errors are those of a real call. An instance is shared between threads and event loops.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from humanloop import schemas
from humanloop.apis.operations import OPERATIONS
from humanloop.exceptions import ApiConnectionError, ApiTypeError, ApiValueError
from humanloop.http import Headers
from humanloop.operation import Operation
from humanloop.schemas.nodes import Node
from humanloop.secrets import did_you_mean
from humanloop.transport import AsyncRawStream, AsyncTransport, RawResponse, RawStream, Request

__all__ = ["RecordedRequest", "TestTransport", "sample"]


@dataclass(frozen=True, repr=False)
class RecordedRequest:
    """A request as it was sent.

    operation: its name, such as `projects.get`; empty for a path that the API does not have.
    path, query: as they were sent, encoded; parameters: both kinds by name, decoded, with the types
    of the API's document; json: the body, decoded, None where there is none; request: all of it.
    """

    operation: str
    method: str
    path: str
    query: str
    parameters: Mapping[str, Any]
    headers: Headers
    json: Any
    request: Request

    def __repr__(self) -> str:
        return f"RecordedRequest({self.operation!r}, {self.request!r})"


class TestTransport:
    """A transport that answers by itself, for synchronous and asynchronous calls.

    Give it to a client as its `transport`. Both kinds of calls share what it was told to answer,
    and the record.
    """

    __test__ = False  # pytest would take it for a class of tests

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replies: dict[str, list[_Reply]] = {}
        self._requests: list[RecordedRequest] = []

    @cached_property
    def asynchronous(self) -> AsyncTransport:
        """The same for event loops; a client finds it here."""
        return _Asynchronous(self)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, each try of a call, the oldest first."""
        with self._lock:
            return list(self._requests)

    def calls(self, operation: str) -> list[RecordedRequest]:
        """The requests for one operation, such as `projects.get`."""
        name = _operation(operation).name
        return [request for request in self.requests if request.operation == name]

    def reply(
        self,
        operation: str,
        body: Any = schemas.unset,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        error: Exception | None = None,
        events: Iterable[Any] | None = None,
        times: int | None = None,
        check: bool = True,
    ) -> None:
        """Set an answer to an operation.

        operation: its name, such as `projects.get`, `logs.log` or `feedback_api.feedback`.
        body: JSON data or a model instance; bytes and str are sent as they are; a function gets the
            `RecordedRequest` and returns the body. Without one, a made-up one that fits.
        status: by default the documented one. headers: of the answer, over its own.
        error: raised in place of an answer; after events, it is what breaks the stream off.
        events: the answer to a call with `stream=True`, as for `stream`.
        times: an answer with `times` is given so often, after those of the kind that were set
            before it. When none is left, the one without `times` that was set last is given, as
            often as it takes, and without one, a made-up answer.
        check: whether a body of a success, and each event, has to fit the operation's schema.

        Raises:
            ApiValueError: there is no such operation, or it never answers so.
            SchemaValidationError: the body does not fit; for one that a function returns, it is
                raised by the call.
        """
        found = _operation(operation)
        reply = _Reply(found, body, status, headers, error, None, times, check)
        if events is not None:
            reply.events = [_event(found, event, check) for event in events]
        reply.prepare()
        with self._lock:
            replies = self._replies.setdefault(found.name, [])
            if times is None:
                replies[:] = [r for r in replies if not r.is_replaced_by(reply)]
            replies.append(reply)

    def stream(
        self,
        operation: str,
        events: Iterable[Any],
        *,
        headers: Mapping[str, str] | None = None,
        error: Exception | None = None,
        times: int | None = None,
        check: bool = True,
    ) -> None:
        """Set the events that answer calls of an operation with `stream=True`.

        events: each is JSON data or a model instance that fits the operation's schema; a str is the
            event's data as it is, and bytes are a piece of the stream as it is.

        Calls without `stream=True` get other answers. The remaining arguments are those of `reply`.
        """
        self.reply(operation, headers=headers, error=error, events=events, times=times, check=check)

    def send(self, request: Request) -> RawResponse | RawStream:
        """Record a request and answer it."""
        operation, recorded = _recorded(request)
        with self._lock:
            self._requests.append(recorded)
            reply = self._next_reply(recorded.operation, request.stream)
        if operation is None:
            said = {"detail": f"The API has no {request.method} {request.path}"}
            return _response(404, None, schemas.to_json(said).encode())
        if reply is None:
            events = _made_up_events(operation) if request.stream else None
            reply = _Reply(operation, events=events)
        return reply.answer(recorded)

    def close(self) -> None:
        """Nothing: there are no connections."""

    def _next_reply(self, name: str, streaming: bool) -> _Reply | None:
        replies = [r for r in self._replies.get(name, []) if streaming or r.events is None]
        for reply in replies:
            if reply.times is not None:
                reply.times -= 1
                if not reply.times:
                    self._replies[name].remove(reply)
                return reply
        return replies[-1] if replies else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.requests)} requests>"


# -- answers --------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Reply:
    """One answer that was set; the attributes are the arguments of `TestTransport.reply`.

    data: the body as it goes out, where it depends on no request.
    """

    operation: Operation
    body: Any = schemas.unset
    status: int | None = None
    headers: Mapping[str, str] | None = None
    error: Exception | None = None
    events: list[bytes] | None = None
    times: int | None = None
    check: bool = True
    data: bytes | None = None

    def prepare(self) -> None:
        """Refuse what makes no sense; write the body."""
        name = self.operation.name
        has_body = self.body is not schemas.unset
        if self.times is not None and self.times < 1:
            raise ApiValueError(f"{name}: times must be at least 1, not {self.times!r}")
        if self.status is not None and not 100 <= self.status <= 599:
            raise ApiValueError(f"{name}: {self.status!r} is no HTTP status")
        if self.events is not None:
            if not self.operation.streams:
                raise ApiValueError(f"{name} never answers with a stream of events")
            if has_body or self.status is not None:
                raise ApiTypeError(f"{name}: events come with neither a body nor a status")
        elif self.error is not None and (has_body or self.status is not None):
            raise ApiTypeError(f"{name}: an error comes with neither a body nor a status")
        if has_body and not callable(self.body):
            self.data = self._written(self.body)

    def is_replaced_by(self, other: _Reply) -> bool:
        """Whether this answer is never given again once `other`, without `times`, is there."""
        return self.times is None and (self.events is None) == (other.events is None)

    def answer(self, recorded: RecordedRequest) -> RawResponse | RawStream:
        """The answer to one request."""
        if self.events is not None:
            fields = _fields("text/event-stream", self.headers)
            error = self.error and _located(self.error, recorded)
            return _Stream(fields, list(self.events), error)
        if self.error is not None:
            raise _located(self.error, recorded)
        data = self.data
        if data is None and callable(self.body):
            data = self._written(self.body(recorded))
        if data is None:
            data = self._made_up(recorded)
        return _response(self._status, self.headers, data)

    @property
    def _status(self) -> int:
        return self.operation.status if self.status is None else self.status

    @property
    def _is_success(self) -> bool:
        return 200 <= self._status <= 299

    def _written(self, body: Any) -> bytes:
        if isinstance(body, (str, bytes)) and not isinstance(body, schemas.Schema):
            return body.encode() if isinstance(body, str) else body
        if self.check and self._is_success:
            body = _checked(self.operation, body)
        return schemas.to_json(body).encode()

    def _made_up(self, recorded: RecordedRequest) -> bytes:
        if self._is_success:
            body = _made_up_body(self.operation, recorded)
            return b"" if body is None or self._status == 204 else schemas.to_json(body).encode()
        if self._status == 422:
            from humanloop import model

            return schemas.to_json(sample(model.HTTPValidationError)).encode()
        return schemas.to_json({"detail": _phrase(self._status)}).encode()


@dataclass
class _Stream:
    """An answer that is a stream: its head, the pieces of its body, and the error at its end."""

    headers: Headers
    pieces: list[bytes]
    error: Exception | None
    status: int = 200
    reason: str = "OK"
    elapsed: float = 0.0

    def read(self, timeout: float | None) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        return b""

    def close(self) -> None:
        self.pieces, self.error = [], None


class _AsyncStream:
    def __init__(self, stream: RawStream) -> None:
        self.status = stream.status
        self.reason = stream.reason
        self.headers = stream.headers
        self.elapsed = stream.elapsed
        self.close = stream.close
        self._read = stream.read

    async def read(self, timeout: float | None) -> bytes:
        return self._read(timeout)


class _Asynchronous:
    """An `AsyncTransport` in front of a `TestTransport`."""

    def __init__(self, transport: TestTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> RawResponse | AsyncRawStream:
        answer = self._transport.send(request)
        return answer if isinstance(answer, RawResponse) else _AsyncStream(answer)

    async def aclose(self) -> None:
        self._transport.close()

    def close(self) -> None:
        self._transport.close()

    def __repr__(self) -> str:
        return f"{self._transport!r}.asynchronous"


def _response(status: int, headers: Mapping[str, str] | None, data: bytes) -> RawResponse:
    fields = _fields("application/json" if data else "", headers)
    return RawResponse(status, _phrase(status), fields, data)


def _fields(content_type: str, headers: Mapping[str, str] | None) -> Headers:
    fields = Headers({"Content-Type": content_type} if content_type else {})
    fields.update(headers or {})
    return fields


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _checked(operation: Operation, body: Any) -> Any:
    """The body as an instance of the operation's schema."""
    if operation.response_schema is None:
        raise ApiValueError(f"{operation.name} answers without a body")
    return operation.response_schema.validate(body, "response")


def _event(operation: Operation, event: Any, check: bool) -> bytes:
    """One event as a piece of a stream (HTML Living Standard, section 9.2.5)."""
    if isinstance(event, bytes):
        return event
    if not isinstance(event, str):
        event = schemas.to_json(_checked(operation, event) if check else event)
    return "".join(f"data: {line}\n" for line in event.split("\n")).encode() + b"\n"


def _located(error: Exception, recorded: RecordedRequest) -> Exception:
    """The error for one request: a client writes into it what it knows of the call."""
    if not isinstance(error, ApiConnectionError):
        return error
    error = copy.copy(error)
    error.method = error.method or recorded.method
    error.host = error.host or recorded.request.host
    error.path = error.path or recorded.path
    return error


# -- which operation it is ------------------------------------------------------------------------


def _pattern(operation: Operation) -> re.Pattern[str]:
    parts = (
        f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part)
        for part in operation.path.split("/")
    )
    return re.compile("/".join(parts))


_BY_NAME = {operation.name: operation for operation in OPERATIONS}
# A path that is spelled out goes before one with a parameter in its place.
_PATTERNS = [
    (_pattern(operation), operation)
    for operation in sorted(OPERATIONS, key=lambda operation: operation.path.count("{"))
]


def _operation(name: str) -> Operation:
    operation = _BY_NAME.get(name)
    if operation is None:
        raise ApiValueError(f"the API has no operation {name!r}{did_you_mean(name, _BY_NAME)}")
    return operation


def _recorded(request: Request) -> tuple[Operation | None, RecordedRequest]:
    """The operation that a request is for, if it is one, and the record of it."""
    found, parameters = None, dict[str, Any]()
    for pattern, operation in _PATTERNS:
        match = operation.method == request.method and pattern.fullmatch(request.path)
        if match:
            path = {name: unquote(text) for name, text in match.groupdict().items()}
            found, parameters = operation, path | _query(operation, request.query)
            break
    recorded = RecordedRequest(
        "" if found is None else found.name,
        request.method,
        request.path,
        request.query,
        parameters,
        request.headers,
        _decoded(request.body),
        request,
    )
    return found, recorded


def _query(operation: Operation, query: str) -> dict[str, Any]:
    """The query parameters by name, with the types that the document gives them."""
    kinds = {p.name: p.schema.get("type") for p in operation.parameters}
    result: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        kind = kinds.get(name)
        if kind == "array":
            result.setdefault(name, []).append(text)
        else:
            result[name] = _decoded(text) if kind in ("integer", "number", "boolean") else text
    return result


def _decoded(data: str | bytes | None) -> Any:
    """JSON as plain data; what is none stays as it is."""
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data


# -- made-up answers ------------------------------------------------------------------------------


def sample(of: str | Operation | type[schemas.Schema]) -> Any:
    """Plain data that fits a schema class, or that an operation (or the one of a name) returns.

    The same each time, and yours to change. It has the required keys and, down to the second level
    of objects, the optional ones, but no `error` and no parent. None for an operation that returns
    nothing.

    Raises:
        ApiValueError: there is no operation of that name.
        SchemaValidationError: no value is known to fit the schema, such as one with a `pattern`.
    """
    schema = of if isinstance(of, type) else _response_schema(of)
    if schema is None:
        return None
    made = _Sampler().make(schema.node)
    schema.validate(made)
    return made


def _response_schema(of: str | Operation) -> type[schemas.Schema] | None:
    return (_operation(of) if isinstance(of, str) else of).response_schema


def _made_up_body(operation: Operation, recorded: RecordedRequest) -> Any:
    """A body that fits the operation, and the request where that is easy; None: there is none.

    What the path names is what comes back; the first page has the only record; who sends a list
    gets a list of that length, and who sends one item gets one.
    """
    if operation.response_schema is None:
        return None
    node = operation.response_schema.node.resolved
    wanted = "array" if isinstance(recorded.json, list) else "object"
    node = next((b.resolved for b in node.any_of if b.resolved.type == wanted), node)
    if wanted == "array" and node.items is not None:
        count = len(cast("Any", recorded).json)
        return [_Sampler(number=number).make(node.items) for number in range(1, count + 1)]
    body = _Sampler().make(node)
    if isinstance(body, dict):
        _echo(operation, recorded, cast("dict[str, Any]", body))
    return cast(Any, body)


def _echo(operation: Operation, recorded: RecordedRequest, body: dict[str, Any]) -> None:
    in_path = [p.name for p in operation.parameters if p.location == "path"]
    body.update({k: v for k, v in recorded.parameters.items() if k in in_path and k in body})
    if "records" in body and "total" in body:
        defaults = {p.name: p.schema.get("default") for p in operation.parameters}
        asked = {**defaults, **recorded.parameters}
        body.update({key: asked[key] for key in ("page", "size") if type(asked.get(key)) is int})
        body["total"] = len(body["records"])
        if body["page"] > (defaults.get("page") or 0):  # the first page has all there is
            body["records"] = []


def _made_up_events(operation: Operation) -> list[bytes] | None:
    """A short stream: an output in two pieces, and what is known at its end."""
    if not operation.streams or operation.response_schema is None:
        return None
    node = operation.response_schema.node
    whole = _Sampler().make(node)
    events: list[Any] = []
    for piece in whole["data"][0]["output"].partition(" ")[::2]:
        text = f" {piece}" if events else piece
        event = _Sampler(levels=0).make(node)
        event["data"] = [{**_Sampler(levels=0).make(_data(node)), **_texts(text)}]
        events.append(event)
    events.append({**whole, "data": [{**whole["data"][0], **_texts("")}]})
    return [_event(operation, event, True) for event in events]


def _data(node: Node) -> Node:
    items = node.resolved.properties["data"].resolved.items
    assert items is not None, "what is streamed are pieces of data"
    return items


def _texts(text: str) -> dict[str, str]:
    return {"output": text, "raw_output": text}


# What an id starts with, by the document's descriptions: of a thing that is called so by the last
# word of its schema's name, or of the key that refers to it.
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
_DEEPEST = 50  # what is required deeper than this is required without end


class _Sampler:
    """Makes samples of schemas.

    number: what the ids of the sample end in; levels: of how many levels of objects the optional
    keys are made.
    """

    def __init__(self, number: int = 1, levels: int = 2) -> None:
        self._number = number
        self._levels = levels

    def make(self, node: Node, key: str = "", depth: int = 0, owner: str = "") -> Any:
        """A sample of one schema.

        key: the key that it is the value of; depth: how many objects it is in; owner: the name of
        the schema of the innermost of them.
        """
        node = node.resolved
        if values := cast("Sequence[Any]", node.schema.get("enum", ())):
            return schemas.to_primitive(values[0])
        if node.nullable and depth > _DEEPEST:
            return None
        name = node.cls.__name__ if node.cls is not None else owner
        parts = [self.make(branch, key, depth, name) for branch in self._branches(node)]
        if node.type is not None or node.properties or node.required:
            parts.append(self._typed(node, key, depth, name))
        if parts and all(isinstance(part, dict) for part in parts):
            return {key: item for part in parts for key, item in part.items()}
        return parts[0] if parts else self._text(node, key, name)

    def _branches(self, node: Node) -> list[Node]:
        """Those that hold together: all of allOf, the first of a choice."""
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
            if (key in node.required or optional) and depth <= _DEEPEST:
                made[key] = self.make(part, key, depth + 1, owner)
        return made

    def _array(self, node: Node, key: str, depth: int, owner: str) -> list[Any]:
        wanted = 1 if depth <= self._levels and node.schema.get("maxItems") != 0 else 0
        count = max(wanted, node.schema.get("minItems", 0))
        items = node.items
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
        """The first of some numbers that the schema allows."""
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
