"""ApiClient: an operation and its arguments become a request, a response becomes an `ApiResponse`.

A call is written once, as the generator `_flow`: it prepares the request, says what is to be done
next (send it, wait, call a hook), decides whether to try again, and makes the result. `call` and
`acall` do what it says, each in its own way of waiting. What stays true: keys go only where they
belong, a status outside 2xx always raises, a body is returned only when it fits its schema, and no
request is sent twice that might be done twice. An instance is shared between threads and loops.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar, cast

from humanloop import schemas
from humanloop.api_response import ApiResponse
from humanloop.attempts import Attempts
from humanloop.configuration import (
    API_KEY_HEADER,
    SECURITY_SCHEME,
    TIMEOUT,
    Configuration,
    EventHooks,
    is_timeout,
)
from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiResponseDecodingError,
    ApiResponseError,
    ApiResponseValidationError,
    ApiTypeError,
    ApiValueError,
    ClientConfigurationError,
    ResponseValidationWarning,
    SchemaValidationError,
    describe,
    exception_for_status,
    exception_for_stream,
    unexpected_argument,
)
from humanloop.http import Headers, RawResponse, Request, is_json
from humanloop.operation import Operation, is_idempotent, serialize, wants_stream
from humanloop.retries import RetryPolicy
from humanloop.schemas.codec import refuse_constant
from humanloop.secrets import redact as redact_text
from humanloop.secrets import redact_error
from humanloop.transport.base import AsyncTransport, Transport
from humanloop.wire_log import WireLog

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from humanloop.drift import Drift, DriftReport
    from humanloop.streaming import EventReader

__all__ = ["ApiClient", "CallSettings", "RequestOptions"]

ErrorType = TypeVar("ErrorType", bound=ApiException)

_PACKAGE = f"{__package__}."
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.1
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5
_FIELD = re.compile(f"{_HEADER_NAME.pattern}:{_HEADER_VALUE.pattern}")  # both in one search


class Send(NamedTuple):
    """A step of a call: send the request; its outcome is the answer."""

    request: Request


class Wait(NamedTuple):
    """A step of a call: let the time pass."""

    seconds: float


class Hook(NamedTuple):
    """A step of a call: call the hook; its outcome is what it returns."""

    hook: Callable[..., Any]
    arguments: tuple[Any, ...]


Step = Send | Wait | Hook


class Opened(NamedTuple):
    """The result of a call for a stream: the answer, and what reads its events."""

    response: Any
    reader: EventReader[Any]


class RequestOptions(TypedDict, total=False):
    """What any call takes beside the arguments of its operation.

    timeout: seconds for the whole call, in place of the configuration's; None: no limit;
    connect_timeout, read_timeout: likewise.
    skip_deserialization: return the body as plain decoded JSON, not validated.
    extra_headers: sent with this call, before all others in rank.
    retries: when to try again, in place of the configuration's.
    idempotent: the request may be sent again though it may have arrived.
    """

    timeout: float | None
    connect_timeout: float | None
    read_timeout: float | None
    skip_deserialization: bool
    extra_headers: Mapping[str, str]
    retries: RetryPolicy | int
    idempotent: bool


class CallSettings(TypedDict, total=False):
    """The settings of a configuration that a copy of a client may have otherwise."""

    timeout: float | None
    connect_timeout: float | None
    read_timeout: float | None
    retries: RetryPolicy | int
    response_validation: Literal["strict", "lenient"]
    event_hooks: EventHooks
    on_drift: Callable[[DriftReport], object] | None


class _Transports:
    """What sends the requests, made when it is first needed; a client shares it with its copies."""

    def __init__(
        self,
        configuration: Configuration,
        transport: Transport | None,
        async_transport: AsyncTransport | None,
    ) -> None:
        self._configuration = configuration
        if transport is not None:
            self.transport = transport
            async_transport = async_transport or getattr(transport, "asynchronous", None)
        if async_transport is not None:
            self.async_transport = async_transport
        self._own = transport is None and async_transport is None

    @cached_property
    def transport(self) -> Transport:
        self._check("transport", "synchronous")
        from humanloop.transport import Urllib3Transport

        made: Transport = self.__dict__.setdefault(
            "transport", Urllib3Transport(self._configuration)
        )
        return made

    @cached_property
    def async_transport(self) -> AsyncTransport:
        self._check("async_transport", "asynchronous")
        from humanloop.transport import AiohttpTransport

        made: AsyncTransport = self.__dict__.setdefault(
            "async_transport", AiohttpTransport(self._configuration)
        )
        return made

    def _check(self, name: str, kind: str) -> None:
        # Whoever replaced one transport does not expect the other one to reach the network.
        if not self._own:
            raise ClientConfigurationError(
                f"{kind} calls need {name}=, since only the other is given"
            )

    def made(self) -> list[Transport | AsyncTransport]:
        """Those that were made so far."""
        names = ("transport", "async_transport")
        return [self.__dict__[name] for name in names if name in self.__dict__]


class ApiClient:
    """Calls operations.

    configuration: by default a copy of the default one; header_name, header_value: a header for
    every call; cookie: the header `Cookie` of every call; pool_threads: accepted for code written
    for 0.5, has no effect; transport, async_transport: what sends the requests, by default
    `Urllib3Transport` and `AiohttpTransport`.
    """

    def __init__(
        self,
        configuration: Configuration | None = None,
        header_name: str | None = None,
        header_value: str | None = None,
        cookie: str | None = None,
        pool_threads: int = 1,
        *,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
    ) -> None:
        self.configuration = configuration or Configuration.get_default_copy()
        self.default_headers = Headers()
        self.user_agent = _user_agent()
        if header_name is not None:
            self.set_default_header(header_name, header_value or "")
        self.cookie = cookie
        self._transports = _Transports(self.configuration, transport, async_transport)
        self._log = WireLog(self.configuration)

    @property
    def transport(self) -> Transport:
        """What sends the requests; made when it is first needed."""
        return self._transports.transport

    @property
    def async_transport(self) -> AsyncTransport:
        """What sends the requests of asynchronous calls; made when it is first needed."""
        return self._transports.async_transport

    @property
    def user_agent(self) -> str:
        """The header `User-Agent` of every call."""
        return self.default_headers["User-Agent"]

    @user_agent.setter
    def user_agent(self, value: str) -> None:
        self.set_default_header("User-Agent", value)

    def set_default_header(self, header_name: str, header_value: str) -> None:
        """Send a header with every call."""
        _check_header(header_name, header_value)
        self.default_headers[header_name] = header_value

    def call(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None = None,
    ) -> Any:
        """Do one operation; the result is an ApiResponse, or a Stream where one is asked for.

        Raises SchemaValidationError, ApiTypeError or ApiValueError before anything is sent,
        ApiConnectionError when no answer came, ApiException when the answer is no result.
        """
        flow = self._flow(operation, arguments, options)
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._do(step)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            result = end.value
        if isinstance(result, Opened):
            from humanloop.streaming import Stream

            return Stream(result.response, result.reader)
        return result

    async def acall(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None = None,
    ) -> Any:
        """As `call`, in an event loop; a stream is an AsyncStream."""
        flow = self._flow(operation, arguments, options)
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._ado(step)
                except Exception as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            result = end.value
        if isinstance(result, Opened):
            from humanloop.streaming import AsyncStream

            return AsyncStream(result.response, result.reader)
        return result

    def _do(self, step: Step) -> Any:
        if isinstance(step, Send):
            return self.transport.send(step.request)
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        outcome = step.hook(*step.arguments)
        if inspect.isawaitable(outcome):
            if isinstance(outcome, Coroutine):
                outcome.close()  # it would warn that nobody waited for it
            raise ApiTypeError(
                "an event hook that is a coroutine function needs asynchronous calls"
            )
        return outcome

    async def _ado(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self.async_transport.send(step.request)
        if isinstance(step, Wait):
            from asyncio import sleep  # its import takes longer than all else here

            await sleep(step.seconds)
            return None
        outcome = step.hook(*step.arguments)
        return await outcome if inspect.isawaitable(outcome) else outcome

    def _flow(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None,
    ) -> Generator[Step, Any, Any]:
        """The steps of one call; returns its result."""
        options = options or {}
        request = self.prepare(operation, arguments, options)
        attempts = Attempts(
            request.timeout,
            RetryPolicy.of(options.get("retries", self.configuration.retries)),
            options.get("idempotent") or is_idempotent(operation, arguments),
        )
        while True:
            sent = attempts.next_request(request)
            for hook in self.configuration.event_hooks.get("request", ()):
                sent = attempts.in_time(_replaced(sent, (yield Hook(hook, (sent,)))))
            self._log.request(sent, attempts.made)
            try:
                answer = yield Send(sent)
            except ApiConnectionError as error:
                redact_error(attempts.describe(error), self._redactor(sent))
                self._log.fault(sent, error)
                for hook in self.configuration.event_hooks.get("error", ()):
                    yield Hook(hook, (sent, error))
                seconds = attempts.wait_after_fault(error)
                if seconds is None:
                    raise
            else:
                self._log.response(sent, answer)
                try:
                    for hook in self.configuration.event_hooks.get("response", ()):
                        yield Hook(hook, (sent, answer))
                except BaseException:
                    if not isinstance(answer, RawResponse):
                        answer.close()
                    raise
                if 200 <= answer.status <= 299:
                    try:
                        if request.stream:
                            return self._opened(operation, sent, answer, options, attempts)
                        return self.finish(operation, sent, answer, options)
                    except ApiException as error:
                        attempts.describe(error)
                        raise
                seconds, refusal = attempts.wait_after_response(answer)
                if seconds is None:
                    raise attempts.describe(self._refused(sent, answer, refusal))
            self._log.wait(sent, seconds)
            yield Wait(seconds)

    def prepare(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None = None,
    ) -> Request:
        """The request for one call; sends nothing. `arguments` are as for `operation.serialize`."""
        options = options or {}
        for name in options:
            if name not in RequestOptions.__annotations__:
                known = [*operation.arguments, *RequestOptions.__annotations__]
                raise unexpected_argument(f"{operation.name}()", name, known)
        configuration = self.configuration
        timeout = configuration.timeout
        connect_timeout = configuration.connect_timeout
        read_timeout = configuration.read_timeout
        if options:
            timeout = _limit(operation, options, "timeout", timeout)
            connect_timeout = _limit(operation, options, "connect_timeout", connect_timeout)
            read_timeout = _limit(operation, options, "read_timeout", read_timeout)
        keys = configuration.provider_api_keys if operation.provider_keys else None
        path, query, body = serialize(operation, arguments, keys)
        stream = wants_stream(operation, arguments)
        extra_headers = options.get("extra_headers") or {}
        return Request(
            operation.method,
            configuration.host,
            path,
            query,
            self._headers(extra_headers, has_body=body is not None),
            body,
            timeout,
            connect_timeout,
            read_timeout,
            stream,
        )

    def finish(
        self,
        operation: Operation,
        request: Request,
        response: RawResponse,
        options: RequestOptions | None = None,
    ) -> ApiResponse[Any]:
        """The result of one call; raises an ApiException when the response is none."""
        if not 200 <= response.status <= 299:
            raise self._refused(request, response)
        plain = (options or {}).get("skip_deserialization", False)
        body: Any = schemas.unset
        try:
            if operation.response_schema is not None:
                _check_json(response)
                data = response.data
                body = _decoded(data) if plain else self._validated(operation, data, "the body")
        except SchemaValidationError as error:
            kind = _unfit(request, decoded=not error.is_unreadable)
            detail = f"the body does not fit {error.summary}"
            unfit = self._error(kind, request, response, response.text, detail)
            unfit.errors = error.errors
            raise unfit from error
        except (ValueError, RecursionError) as error:
            detail = f"the body is not the JSON that was promised: {error}"
            kind = _unfit(request, decoded=False)
            unfit = self._error(kind, request, response, response.text, detail)
            raise unfit from error
        return ApiResponse(response.headers, response.status, response, response.elapsed, body)

    def with_options(
        self, headers: Mapping[str, str] | None = None, **settings: Unpack[CallSettings]
    ) -> Self:
        """A copy with other settings of the configuration, and with more headers for every call.

        Both share their connections.
        """
        for name in settings:
            if name not in CallSettings.__annotations__:
                known = ["headers", *CallSettings.__annotations__]
                raise unexpected_argument("with_options()", name, known)
        duplicate = copy.copy(self)
        duplicate.configuration = copy.copy(self.configuration)
        for name, value in settings.items():
            setattr(duplicate.configuration, name, value)
        duplicate.default_headers = Headers(self.default_headers)
        for name, value in (headers or {}).items():
            duplicate.set_default_header(name, value)
        duplicate._log = WireLog(duplicate.configuration)
        return duplicate

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones.

        Those of an event loop that runs are closed by that loop, soon; `aclose` waits for it.
        """
        for transport in self._transports.made():
            transport.close()

    async def aclose(self) -> None:
        """As `close`, in an event loop."""
        if "async_transport" in self._transports.__dict__:
            await self.async_transport.aclose()
        if "transport" in self._transports.__dict__:
            self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.configuration!r})"

    def _headers(self, extra_headers: Mapping[str, str], *, has_body: bool) -> Headers:
        headers = Headers(self.default_headers)
        headers["Accept"] = "application/json"
        if has_body:
            headers["Content-Type"] = "application/json"
        if self.cookie:
            headers["Cookie"] = self.cookie
        if key := self.configuration.get_api_key_with_prefix(SECURITY_SCHEME):
            headers[API_KEY_HEADER] = key
        for name, value in extra_headers.items():
            _check_header(name, value)  # before a name that is none is changed to lower case
            headers[name] = value
        for name, value in headers.items():
            if not _FIELD.fullmatch(f"{name}:{value}"):
                _check_header(name, value)
        return headers

    def _opened(
        self,
        operation: Operation,
        request: Request,
        answer: Any,
        options: RequestOptions,
        attempts: Attempts,
    ) -> Opened:
        """The result of a call for a stream."""
        from humanloop.streaming import EventReader, StreamContext, is_report

        plain = options.get("skip_deserialization", False)

        def decode(text: str) -> Any:
            data = text.encode()
            if plain:
                return _decoded(data)
            return self._validated(operation, data, "an event", is_refused=is_report)

        def failure(kind: type[ApiException], body: Any, detail: str) -> ApiException:
            return attempts.describe(self._error(kind, request, answer, body, detail))

        context = StreamContext(
            decode,
            failure,
            attempts.end if "timeout" in options else None,
            attempts.timeout,
            request.read_timeout,
            self.configuration.max_response_bytes,
            self._redactor(request),
        )
        ready: tuple[Any, ...] = ()
        if isinstance(answer, RawResponse):  # from a server that does not stream: one event
            ready = (self.finish(operation, request, answer, options).body,)
        return Opened(answer, EventReader(context, ready))

    def _refused(self, request: Request, response: RawResponse, refusal: str = "") -> ApiException:
        """The error for an answer whose status is no success."""
        kind = exception_for_status(response.status)
        if request.stream:
            kind = exception_for_stream(kind)
        body = _decoded_if_possible(response)
        redact = self._redactor(request)
        detail = "; ".join(filter(None, (describe(body, redact), refusal)))
        return self._error(kind, request, response, body, detail, redact)

    def _validated(
        self,
        operation: Operation,
        data: bytes,
        what: str,
        is_refused: Callable[[object], bool] = lambda value: False,
    ) -> Any:
        """The typed value of JSON text, or where a misfit is to be taken as it is, the plain one.

        what: what it is, for the warning then; is_refused: tells of a plain value that it is not
        to be taken. Raises SchemaValidationError for what is not.
        """
        schema = operation.response_schema
        assert schema is not None, "an operation with a body has a schema for it"
        try:
            value = schema.from_json(data, direction="response")
        except SchemaValidationError as error:
            self._report_drift(operation, data, error)
            lenient = self.configuration.response_validation == "lenient"
            if not lenient or error.is_unreadable:
                raise
            plain = _decoded(data)
            if is_refused(plain):
                raise
            _warn(f"{operation.name}(): {what} does not fit {error.summary}")
            return plain
        self._report_drift(operation, value)
        return value

    def _report_drift(
        self, operation: Operation, body: Any, error: SchemaValidationError | None = None
    ) -> None:
        on_drift = self.configuration.on_drift
        if on_drift is not None:
            from humanloop.drift import find_drift

            report = find_drift(operation, body, error)
            if report is not None:
                redact = partial(redact_text, secrets=self.configuration.secrets)
                on_drift(replace(report, findings=tuple(_shown(report.findings, redact))))

    def _error(
        self,
        kind: type[ErrorType],
        request: Request,
        response: Any,
        body: Any,
        detail: str,
        redact: Callable[[str], str] | None = None,
    ) -> ErrorType:
        answer = ApiResponse(response.headers, response.status, response, response.elapsed, body)
        redact = redact or self._redactor(request)
        return kind(
            reason=redact(response.reason),
            api_response=answer,
            method=request.method,
            host=request.host,
            path=redact(request.path),
            detail=redact(detail),
        )

    def _redactor(self, request: Request) -> Callable[[str], str]:
        """What takes the secrets of a request out of a text."""
        return partial(redact_text, secrets=request.secrets(self.configuration.secrets))


def _shown(findings: Iterable[Drift], redact: Callable[[str], str]) -> Iterator[Drift]:
    """Findings without what is secret: an answer may have a key in any place."""
    for drift in findings:
        value = redact(drift.value) if isinstance(drift.value, str) else drift.value
        yield replace(drift, pointer=redact(drift.pointer), value=value)


def _limit(
    operation: Operation, options: RequestOptions, name: str, default: float | None
) -> float | None:
    """A time limit of one call."""
    seconds: Any = options.get(name, default)
    if not is_timeout(seconds):
        pair = isinstance(seconds, tuple)
        hint = ": a pair of 0.5 is connect_timeout and read_timeout" if pair else ""
        message = f"{name} must be {TIMEOUT}, not {seconds!r}{hint}"
        raise ApiValueError(f"{operation.name}(): {message}")
    return cast("float | None", seconds)


def _replaced(request: Request, returned: Any) -> Request:
    """The request to send after a hook has returned something."""
    if returned is None:
        return request
    if not isinstance(returned, Request):
        raise ApiTypeError(
            'an event hook for "request" must return a Request or None,'
            f" not {type(returned).__name__}"
        )
    return returned


def _unfit(request: Request, *, decoded: bool) -> type[ApiResponseError]:
    """The class of the error for a success that is none."""
    kind = ApiResponseValidationError if decoded else ApiResponseDecodingError
    return exception_for_stream(kind) if request.stream else kind


def _warn(message: str) -> None:
    """Warn of a response, at the line that called the package."""
    level, frame = 1, inspect.currentframe()
    while frame and frame.f_back and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, ResponseValidationWarning, stacklevel=level)


def _check_json(response: RawResponse) -> None:
    if not response.data:
        raise ValueError("it is empty")
    if not is_json(response.headers):
        raise ValueError(f"its Content-Type is {response.headers.get('Content-Type', '')!r}")


def _decoded(data: bytes) -> Any:
    return json.loads(data, parse_constant=refuse_constant)


def _decoded_if_possible(response: RawResponse) -> Any:
    """The body of an error: decoded where it is JSON, else its text."""
    if is_json(response.headers):
        try:
            return _decoded(response.data)
        except (ValueError, RecursionError):
            pass
    return response.text


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ApiValueError(f"{name!r} is no header name")
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ApiValueError(
            f"header {name!r}: the value must be a str of Latin-1 characters without line breaks"
        )


def _user_agent() -> str:
    from humanloop import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    return f"humanloop-python/{__version__} ({sys.implementation.name} {python}; {sys.platform})"


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Version 0.5 had the base of the tags here. `api` imports this module, so it can't be
        # imported before somebody asks for it.
        if name != "Api":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module("humanloop.api").Api
