"""A transport that answers every operation by itself, at first with a sample that fits its schema.

`reply` and `stream` set other answers, and `requests` holds what was asked.

Invariants: the same calls get the same answers; an answer that the API could not give is refused
when it is set, unless `check=False` asks for it; only the network is replaced, so that validation,
retries, hooks and errors are those of a real call. An instance is shared between threads and loops.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import import_module
from typing import Any

from humanloop import schemas
from humanloop.apis.operations import OPERATIONS
from humanloop.exceptions import ApiConnectionError, ApiTypeError, ApiValueError
from humanloop.http import Headers, RawResponse, Request
from humanloop.lazy import cached_property
from humanloop.operation import Operation, match_path, read_query
from humanloop.testing.samples import operation_named, sample, sample_body, sample_events
from humanloop.transport.base import AsyncRawStream, AsyncTransport, RawStream

__all__ = ["RecordedRequest", "TestTransport"]


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
    and the record. operations: those of the API, `OPERATIONS` of another generated package.
    """

    __test__ = False  # pytest would take it for a class of tests

    def __init__(self, operations: Iterable[Operation] = OPERATIONS) -> None:
        self._operations = tuple(operations)
        self._lock = threading.Lock()
        self._replies: dict[str, list[_Reply]] = {}
        self._requests: list[RecordedRequest] = []

    @cached_property
    def asynchronous(self) -> AsyncTransport:
        """The same for event loops; a client finds it here."""
        return _AsyncTestTransport(self)

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, each try of a call, the oldest first."""
        with self._lock:
            return list(self._requests)

    def calls(self, operation: str) -> list[RecordedRequest]:
        """Return the requests for one operation, such as `projects.get`."""
        name = operation_named(operation, self._operations).name
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
        found = operation_named(operation, self._operations)
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
        operation, recorded = _record(request, self._operations)
        with self._lock:
            self._requests.append(recorded)
            reply = self._next_reply(recorded.operation, request.stream)
        if operation is None:
            said = {"detail": f"The API has no {request.method} {request.path}"}
            return _response(404, None, schemas.to_json(said).encode())
        if reply is None:
            events = sample_events(operation) if request.stream and operation.streams else None
            reply = _Reply(operation, events=events and [_event(operation, e) for e in events])
        return reply.answer(recorded)

    def close(self) -> None:
        """Do nothing: there are no connections."""

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
        """Return whether this answer is never given again once `other` is there."""
        return self.times is None and (self.events is None) == (other.events is None)

    def answer(self, recorded: RecordedRequest) -> RawResponse | RawStream:
        """Return the answer to one request."""
        if self.events is not None:
            fields = _fields("text/event-stream", self.headers)
            error = self.error and _located(self.error, recorded)
            return _CannedStream(fields, list(self.events), error)
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
            body = sample_body(self.operation, recorded.parameters, recorded.json)
            return b"" if body is None or self._status == 204 else schemas.to_json(body).encode()
        if self._status == 422:
            model = import_module(f"{self.operation.package}.model")
            if "HTTPValidationError" in dir(model):
                return schemas.to_json(sample(model.HTTPValidationError)).encode()
        return schemas.to_json({"detail": _phrase(self._status)}).encode()


@dataclass
class _CannedStream:
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


class _AsyncCannedStream:
    """A `_CannedStream` for event loops."""

    def __init__(self, stream: RawStream) -> None:
        self.status = stream.status
        self.reason = stream.reason
        self.headers = stream.headers
        self.elapsed = stream.elapsed
        self.close = stream.close
        self._read = stream.read

    async def read(self, timeout: float | None) -> bytes:
        return self._read(timeout)


class _AsyncTestTransport:
    """An `AsyncTransport` in front of a `TestTransport`."""

    def __init__(self, transport: TestTransport) -> None:
        self._transport = transport

    async def send(self, request: Request) -> RawResponse | AsyncRawStream:
        answer = self._transport.send(request)
        return answer if isinstance(answer, RawResponse) else _AsyncCannedStream(answer)

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
    """Return the body as an instance of the operation's schema."""
    if operation.response_schema is None:
        raise ApiValueError(f"{operation.name} answers without a body")
    return operation.response_schema.validate(body, "response")


def _event(operation: Operation, event: Any, check: bool = True) -> bytes:
    """Write one event as a piece of a stream (HTML Living Standard, section 9.2.5)."""
    if isinstance(event, bytes):
        return event
    if not isinstance(event, str):
        event = schemas.to_json(_checked(operation, event) if check else event)
    return "".join(f"data: {line}\n" for line in event.split("\n")).encode() + b"\n"


def _located(error: Exception, recorded: RecordedRequest) -> Exception:
    """Return the error for one request: a client writes into it what it knows of the call."""
    if not isinstance(error, ApiConnectionError):
        return error
    error = copy.copy(error)
    error.method = error.method or recorded.method
    error.host = error.host or recorded.request.host
    error.path = error.path or recorded.path
    return error


def _record(
    request: Request, operations: Iterable[Operation]
) -> tuple[Operation | None, RecordedRequest]:
    """Return the operation of a request, None where there is none, and the record of it."""
    operation, parameters, _ = match_path(operations, request.method, request.path)
    recorded = RecordedRequest(
        "" if operation is None else operation.name,
        request.method,
        request.path,
        request.query,
        {} if operation is None else parameters | read_query(operation, request.query),
        request.headers,
        _decoded(request.body),
        request,
    )
    return operation, recorded


def _decoded(data: bytes | None) -> Any:
    """Return JSON as plain data; what is none stays as it is."""
    if data is None:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data
