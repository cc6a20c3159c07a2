"""From the response of a call to its result: decode, validate, report drift, or raise the error.

`ResponseReader` reads the responses to one call, whole ones and events of a stream alike.

Invariants: a status outside 2xx always raises; a body is returned only when it fits its schema,
unless the configuration or the call asks for less; an error holds the body as it came, and its
message no secret of the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from humanloop import schemas
from humanloop.api_response import ApiResponse
from humanloop.exceptions import (
    ApiException,
    ApiResponseDecodingError,
    ApiResponseError,
    ApiResponseValidationError,
    ApiStreamEventError,
    ResponseValidationWarning,
    SchemaValidationError,
    describe,
    exception_for_status,
    exception_for_stream,
    warn,
)
from humanloop.http import RawResponse, Request, is_json
from humanloop.schemas.codec import refuse_constant
from humanloop.secrets import Redactor, one_line, redact, redact_url, shorten

if TYPE_CHECKING:
    from humanloop.configuration import Configuration
    from humanloop.operation import Operation
    from humanloop.server_sent_events import ServerSentEvent
    from humanloop.streaming import EventReader
    from humanloop.transport.base import AsyncRawStream, RawStream

    Answer = RawResponse | RawStream | AsyncRawStream

__all__ = ["ResponseReader", "StreamOpened"]

ErrorType = TypeVar("ErrorType", bound=ApiException)


class StreamOpened(NamedTuple):
    """The result of a call for a stream: the head of the answer, and what reads its events."""

    response: Any
    reader: EventReader[Any]


class ResponseReader:
    """Reads the responses to one call of an operation.

    plain: bodies are handed out as plain Python objects; skip: they are not even validated;
    whole_stream: the timeout of the call is the deadline of a whole stream, in place of the longest
    silence in it.
    """

    def __init__(
        self,
        operation: Operation,
        configuration: Configuration,
        *,
        plain: bool = False,
        skip: bool = False,
        whole_stream: bool = False,
    ) -> None:
        self._operation = operation
        self._configuration = configuration
        self._plain = plain
        self._skip = skip
        self._whole_stream = whole_stream

    def read(self, request: Request, response: RawResponse) -> ApiResponse[Any]:
        """Return the result of one call; raise an ApiException when the response is none."""
        if not 200 <= response.status <= 299:
            raise self.status_error(request, response)

        def invalid(error: Exception) -> ApiException:
            hide = self.redactor(request)
            return self._invalid_body(request, response, response.text, "the body", error, hide)

        body: Any = schemas.unset
        has_body = bool(response.data) or response.status not in self._operation.without_body
        if self._operation.response_schema is not None and has_body:
            if problem := _json_problem(response):
                error = ValueError(problem)
                raise invalid(error) from error
            body = self._decode(response.data, "the body", invalid)
        return ApiResponse(response.headers, response.status, response, response.elapsed, body)

    def open_stream(
        self,
        request: Request,
        answer: Answer,
        timeout: float | None,
        end: float | None,
        describe_call: Callable[[ApiException], ApiException],
    ) -> StreamOpened:
        """Return the result of a call for a stream.

        timeout, end: seconds that the call may take, and when they are over, by
        `time.monotonic()`; describe_call: writes into an error what the call has taken so far.
        """
        from humanloop.drift import MAX_FINDINGS
        from humanloop.streaming import EventReader, StreamContext

        hide = self.redactor(request)

        def error(kind: type[ApiException], body: Any, detail: str) -> ApiException:
            kind = exception_for_stream(kind)
            return describe_call(self._error(kind, request, answer, body, detail, hide))

        def reported(body: Any) -> ApiException:
            return error(ApiStreamEventError, body, _report_text(body, hide))

        def refuse_report(value: Any) -> None:
            if is_report(value):
                raise reported(value)

        def decode(event: ServerSentEvent) -> Any:
            def invalid(cause: Exception) -> ApiException:
                made = self._invalid_body(request, answer, event.data, "an event", cause, hide)
                return describe_call(made)

            data = event.data.encode()
            if event.event == "error":
                raise reported(_decoded_or_text(data))
            return self._decode(data, "an event", invalid, refuse_report)

        unknown: set[str] = set()  # each is reported once, and no endless number of them

        def left_out(event: ServerSentEvent) -> None:
            if event.event not in unknown and len(unknown) < MAX_FINDINGS:
                unknown.add(event.event)
                self._report_event(event.event)

        context = StreamContext(
            decode,
            left_out,
            error,
            end if self._whole_stream else None,
            timeout,
            request.read_timeout,
            self._configuration.max_response_bytes,
            hide,
        )
        ready: tuple[Any, ...] = ()
        if isinstance(answer, RawResponse):  # from a server that does not stream: one event
            ready = (self.read(request, answer).body,)
        return StreamOpened(answer, EventReader(context, ready))

    def status_error(self, request: Request, response: Any, reason: str = "") -> ApiException:
        """Return the error for a status that is no success; reason: why it is not tried again."""
        kind = exception_for_status(response.status)
        if request.stream:
            kind = exception_for_stream(kind)
        body = _decoded_or_text(response.data) if is_json(response.headers) else response.text
        hide = self.redactor(request)
        location = response.headers.get("Location", "") if 300 <= response.status <= 399 else ""
        if location:
            location = shorten(one_line(redact_url(hide(location))))
            location = f"it redirects to {location}; redirects are not followed"
        detail = "; ".join(filter(None, (describe(body, hide), location, reason)))
        return self._error(kind, request, response, body, detail, hide)

    def redactor(self, request: Request) -> Redactor:
        """Return what takes the secrets of a request out of a text."""
        return Redactor(lambda: request.secrets(self._configuration.secrets))

    def _decode(
        self,
        data: bytes,
        what: str,
        invalid: Callable[[Exception], ApiException],
        check: Callable[[Any], None] = lambda value: None,
    ) -> Any:
        """Return the value of JSON text: typed, or plain where that is asked for or put up with.

        what: what the text is, for a message; invalid: makes the error for text of no use; check:
        raises for a value that is an error by itself, also if it does not fit the schema.
        """
        schema = self._operation.response_schema
        assert schema is not None, "an operation with a body has a schema for it"
        try:
            value = _decoded(data) if self._skip else schema.from_json(data, direction="response")
        except (ValueError, RecursionError) as error:
            if not isinstance(error, SchemaValidationError):
                raise invalid(error) from error
            self._report_drift(data, error)
            plain = _decoded_or_text(data)
            check(plain)
            lenient = self._configuration.response_validation == "lenient"
            if not lenient or error.is_unreadable:
                raise invalid(error) from error
            message = f"{self._operation.name}(): {what} does not fit {error.summary}"
            warn(message, ResponseValidationWarning)
            return plain
        check(value)
        if self._skip:
            return value
        self._report_drift(value)
        return schemas.to_primitive(value) if self._plain else value

    def _report_drift(self, body: Any, error: SchemaValidationError | None = None) -> None:
        on_drift = self._configuration.on_drift
        if on_drift is None:
            return
        from humanloop.drift import find_drift

        report = find_drift(self._operation, body, error)
        if report is not None:
            # An answer may have a key in any place.
            hide = self._configuration.redact
            findings = tuple(
                replace(
                    drift,
                    pointer=hide(drift.pointer),
                    value=hide(drift.value) if isinstance(drift.value, str) else drift.value,
                )
                for drift in report.findings
            )
            on_drift(replace(report, findings=findings))

    def _report_event(self, kind: str) -> None:
        """Report that an event was left out, since its type is none of the API's."""
        from humanloop.drift import Drift, DriftReport

        kind = shorten(redact(kind, self._configuration.secrets))
        if self._configuration.on_drift is not None:
            found = Drift("unknown_event", "", kind)
            self._configuration.on_drift(DriftReport(self._operation.name, (found,)))
        else:
            message = f"{self._operation.name}(): left out an event of the unknown type {kind!r}"
            warn(message, ResponseValidationWarning)

    def _invalid_body(
        self,
        request: Request,
        answer: Answer,
        body: str,
        what: str,
        error: Exception,
        hide: Callable[[str], str],
    ) -> ApiResponseError:
        """Return the error for a success whose body is of no use."""
        kind: type[ApiResponseError] = ApiResponseDecodingError
        detail = f"{what} is not valid JSON: {error}"
        errors: tuple[schemas.ErrorDetail, ...] = ()
        if isinstance(error, SchemaValidationError):
            errors, detail = error.errors, f"{what} does not fit {error.summary}"
            if not error.is_unreadable:
                kind = ApiResponseValidationError
        if request.stream:
            kind = exception_for_stream(kind)
        made = self._error(kind, request, answer, body, detail, hide)
        made.errors = errors
        return made

    @staticmethod
    def _error(
        kind: type[ErrorType],
        request: Request,
        answer: Any,
        body: Any,
        detail: str,
        hide: Callable[[str], str],
    ) -> ErrorType:
        """Return an error of a kind; hide: takes the secrets of the request out of its texts."""
        return kind(
            reason=hide(answer.reason),
            api_response=ApiResponse(answer.headers, answer.status, answer, answer.elapsed, body),
            method=request.method,
            host=request.host,
            path=hide(request.path),
            detail=hide(detail),
        )


def is_report(body: object) -> bool:
    """Return whether the JSON of an event that is not marked as an error reports one."""
    return isinstance(body, Mapping) and "data" not in body and bool(_report_text(body))


def _report_text(body: Any, redact: Callable[[str], str] | None = None) -> str:
    """Return what an event says of an error, in one line."""
    inner = cast("Any", body).get("error") if isinstance(body, Mapping) else None
    return describe(inner if isinstance(inner, Mapping) else body, redact)


def _json_problem(response: RawResponse) -> str:
    """Return why a body can't be JSON, by its head; empty if it can."""
    if not response.data:
        return "it is empty"
    if not is_json(response.headers):
        return f"its Content-Type is {response.headers.get('Content-Type', '')!r}"
    return ""


def _decoded(data: bytes) -> Any:
    return json.loads(data, parse_constant=refuse_constant)


def _decoded_or_text(data: bytes) -> Any:
    """Return JSON decoded, and all else as text."""
    try:
        return _decoded(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")
