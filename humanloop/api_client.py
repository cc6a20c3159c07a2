"""ApiClient: prepare the request of a call, and finish its response.

What happens between the two, with retries and hooks, is the flow in `call`; `call` and `acall` hand
a prepared request to it.

Invariants: keys go only where they belong; no header can break a request; a copy made by
`with_options` changes nothing of the original. An instance is shared between threads and loops.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from humanloop.api_response import ApiResponse
from humanloop.call import (
    KeyRenewal,
    RetryState,
    Step,
    call_steps,
    refuse_coroutines,
    run,
    run_async,
)
from humanloop.configuration import CallSettings, Configuration
from humanloop.exceptions import (
    ApiTypeError,
    ApiValueError,
    ClientConfigurationError,
    unexpected_argument,
)
from humanloop.forks import no_fork
from humanloop.frames import shielded
from humanloop.http import Headers, RawResponse, Request, is_json
from humanloop.lazy import cached_property, removed_names
from humanloop.operation import (
    Operation,
    SerializedCall,
    is_idempotent,
    serialize,
    wants_stream,
)
from humanloop.responses import ResponseReader
from humanloop.retries import RetryPolicy
from humanloop.secrets import Secret, brief, hidden
from humanloop.setting_checks import (
    HEADER_NAME,
    HEADER_VALUE,
    LONGEST_TIMEOUT,
    check_setting,
    is_header_name,
    is_header_value,
)
from humanloop.transport.base import AsyncTransport, Transport
from humanloop.version import __version__
from humanloop.wire_log import WireLog

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["ApiClient", "CallSettings", "RequestOptions"]

_FIELD = re.compile(f"{HEADER_NAME.pattern}:{HEADER_VALUE.pattern}")  # both in one search
_FRAMING = ("content-length", "transfer-encoding")
"""Header fields that follow from the body (RFC 9112 section 6); others would break the request."""


class RequestOptions(TypedDict, total=False):
    """Options that every call takes beside the arguments of its operation.

    timeout: seconds for the whole call, in place of the configuration's; None: no limit;
    connect_timeout, read_timeout: likewise.
    bodies: "plain" returns the body as dict, list, str, int, float, bool and None; "models" as an
    instance of its schema; in place of the configuration's.
    skip_deserialization: return the body as plain decoded JSON, not validated; likewise.
    extra_headers: sent with this call, before all others in rank.
    retries: when to try again, in place of the configuration's.
    idempotent: the request may be sent again though it may have arrived.
    """

    timeout: float | None
    connect_timeout: float | None
    read_timeout: float | None
    bodies: Literal["models", "plain"]
    skip_deserialization: bool
    extra_headers: Mapping[str, str]
    retries: RetryPolicy | int
    idempotent: bool


class _Transports:
    """Makes each transport when it is first needed; a client shares them with its copies."""

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
        self.given = (transport, async_transport)

    @cached_property
    def transport(self) -> Transport:
        self._check("transport", "synchronous")
        with no_fork.importing():
            from humanloop.transport import Urllib3Transport

        return Urllib3Transport(self._configuration)

    @cached_property
    def async_transport(self) -> AsyncTransport:
        self._check("async_transport", "asynchronous")
        with no_fork.importing():
            from humanloop.transport import AiohttpTransport

        return AiohttpTransport(self._configuration)

    def _check(self, name: str, kind: str) -> None:
        # Whoever replaced one transport does not expect the other one to reach the network.
        if not self._own:
            raise ClientConfigurationError(
                f"{kind} calls need {name}=: only the other transport was replaced"
            )

    def made(self) -> list[Transport | AsyncTransport]:
        """Return the transports that were made so far."""
        names = ("transport", "async_transport")
        return [self.__dict__[name] for name in names if name in self.__dict__]


class ApiClient:
    """Calls operations.

    configuration: by default a copy of the default one; header_name, header_value: a header for
    every call; cookie: the header `Cookie` of every call; pool_threads: accepted for code written
    for 0.5, has no effect; transport, async_transport: what sends the requests, by default
    `Urllib3Transport` and `AiohttpTransport`.
    """

    _cookie: str | None = hidden()

    @shielded
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
        if header_name is not None or header_value is not None:
            if header_name is None or header_value is None:
                raise ApiTypeError("give header_name and header_value together")
            self.set_default_header(header_name, header_value)
        self.cookie = cookie
        self._transports = _Transports(self.configuration, transport, async_transport)
        self._log = WireLog(self.configuration)

    @property
    def transport(self) -> Transport:
        """The transport of synchronous calls; made when it is first needed."""
        return self._transports.transport

    @property
    def async_transport(self) -> AsyncTransport:
        """The transport of asynchronous calls; made when it is first needed."""
        return self._transports.async_transport

    @property
    def user_agent(self) -> str:
        """The header `User-Agent` of every call."""
        return self.default_headers["User-Agent"]

    @user_agent.setter
    def user_agent(self, value: str) -> None:
        _check_value("user_agent", value)
        self.set_default_header("User-Agent", value)

    @property
    def cookie(self) -> str | None:
        """The header `Cookie` of every call; None: there is none."""
        return self._cookie

    @cookie.setter
    def cookie(self, value: str | None) -> None:
        if value is not None:
            _check_value("cookie", value)
        self._cookie = value

    @shielded
    def set_default_header(self, header_name: str, header_value: str) -> None:
        """Send a header with every call, in place of the client's own of this name.

        With `X-API-KEY`, that is the key for all calls; `Content-Type` may be any name of JSON,
        which all bodies are. Raises ApiValueError for what no request can have.
        """
        self._check_header(header_name, header_value)
        if header_name.lower() == "content-type" and not is_json({"Content-Type": header_value}):
            raise ApiValueError(
                "header 'Content-Type': for all calls, it must be application/json or another name"
                " of JSON; extra_headers sets it for one call"
            )
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
        self._refuse_coroutines()
        steps = self._steps(operation, arguments, options)
        return run(steps, self.transport)

    async def acall(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None = None,
    ) -> Any:
        """Do one operation in an event loop: as `call`; a stream is an AsyncStream."""
        try:
            steps = self._steps(operation, arguments, options)
        finally:
            del arguments, options  # a coroutine's frame can't be emptied
        return await run_async(steps, self.async_transport)

    def _steps(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None,
    ) -> Generator[Step, Any, Any]:
        given = Secret((arguments, options))  # a frame would show them, and keys among them
        return self._send(
            operation,
            lambda: self.prepare(operation, *given.reveal()),
            is_idempotent(operation, arguments),
            options or {},
        )

    @shielded
    def call_with_body(
        self, operation: Operation, body: bytes, options: RequestOptions, *, query: str = ""
    ) -> Any:
        """Do one operation with what `operation.serialize` has made before: as `call`."""
        self._refuse_coroutines()
        call = SerializedCall(operation.path, query, body)
        steps = self._send(
            operation, lambda: self._request(operation, call, False, options), False, options
        )
        return run(steps, self.transport)

    def _send(
        self,
        operation: Operation,
        prepare: Callable[[], Request],
        idempotent: bool,
        options: RequestOptions,
    ) -> Generator[Step, Any, Any]:
        request = prepare()
        policy = RetryPolicy.of(self._setting(operation, options, "retries"))
        if "idempotent" in options:
            idempotent = self._setting(operation, options, "idempotent") or idempotent
        state = RetryState(
            request.timeout,
            policy,
            repeatable=idempotent,
            named="reference_id" in operation.body_keys,
        )
        reader = self._reader(operation, options)
        renewal = None
        if self.configuration.refresh_api_key_hook is not None:
            renewal = KeyRenewal(self.configuration, prepare)
        return call_steps(
            request, state, self.configuration.event_hooks, self._log, reader, renewal
        )

    def _refuse_coroutines(self) -> None:
        configuration = self.configuration
        if configuration.event_hooks:
            refuse_coroutines(chain.from_iterable(configuration.event_hooks.values()))
        if configuration.refresh_api_key_hook is not None:
            refuse_coroutines([configuration.refresh_api_key_hook])

    def prepare(
        self,
        operation: Operation,
        arguments: Mapping[str, Any],
        options: RequestOptions | None = None,
    ) -> Request:
        """Return the request for one call; send nothing. arguments: see `operation.serialize`."""
        options = options or {}
        for name in options:
            if name not in RequestOptions.__annotations__:
                known = [*operation.arguments, *RequestOptions.__annotations__]
                raise unexpected_argument(f"{operation.name}()", name, known)
        keys = self.configuration.provider_api_keys if operation.provider_keys else None
        call = serialize(operation, arguments, keys)
        return self._request(operation, call, wants_stream(operation, arguments), options)

    def _request(
        self, operation: Operation, call: SerializedCall, stream: bool, options: RequestOptions
    ) -> Request:
        path, query, body, headers = call
        extra_headers = {**headers, **_fields("extra_headers", options.get("extra_headers"))}
        return Request(
            operation.method,
            self.configuration.host,
            path,
            query,
            self._headers(extra_headers, None if body is None else operation.media_type),
            body,
            self._setting(operation, options, "timeout"),
            self._setting(operation, options, "connect_timeout"),
            self._setting(operation, options, "read_timeout"),
            stream,
        )

    def finish(
        self,
        operation: Operation,
        request: Request,
        response: RawResponse,
        options: RequestOptions | None = None,
    ) -> ApiResponse[Any]:
        """Return the result of one call; raise an ApiException when the response is none."""
        return self._reader(operation, options or {}).read(request, response)

    def _reader(self, operation: Operation, options: RequestOptions) -> ResponseReader:
        return ResponseReader(
            operation,
            self.configuration,
            plain=self._setting(operation, options, "bodies") == "plain",
            skip=self._setting(operation, options, "skip_deserialization"),
            # A limit for one call ends it; one for all calls would end every long stream.
            whole_stream="timeout" in options,
        )

    def _setting(self, operation: Operation, options: Mapping[str, object], name: str) -> Any:
        """Return a setting for one call: the option of the call, else the configuration's."""
        is_timeout = "timeout" in name
        if name in options:
            value: Any = options[name]
            try:
                check_setting(name, value)
            except ClientConfigurationError as error:
                pair = is_timeout and isinstance(value, tuple)
                hint = "; in place of a pair, give connect_timeout and read_timeout" if pair else ""
                raise ApiValueError(f"{operation.name}(): {error}{hint}") from None
        else:
            value = getattr(self.configuration, name)
        if is_timeout and value is not None and value > LONGEST_TIMEOUT:
            return LONGEST_TIMEOUT
        return value

    @shielded
    def with_options(
        self, headers: Mapping[str, str] | None = None, **settings: Unpack[CallSettings]
    ) -> Self:
        """Return a copy with other settings of the configuration, and more headers for every call.

        headers: as by `set_default_header`. Both share their connections.
        """
        for name in settings:
            if name not in CallSettings.__annotations__:
                known = ["headers", *CallSettings.__annotations__]
                raise unexpected_argument("with_options()", name, known)
        duplicate = object.__new__(type(self))
        duplicate.__dict__.update(self.__dict__)
        duplicate.configuration = copy.copy(self.configuration)
        for name, value in settings.items():
            setattr(duplicate.configuration, name, value)
        duplicate.default_headers = Headers(self.default_headers)
        for name, value in _fields("headers", headers).items():
            duplicate.set_default_header(name, value)
        duplicate._log = WireLog(duplicate.configuration)
        return duplicate

    def __copy__(self) -> Self:
        """Return a copy with settings of its own, and the same connections: `with_options()`."""
        return self.with_options()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy with settings and connections of its own; given transports are the same."""
        duplicate = self.with_options()
        duplicate._transports = _Transports(duplicate.configuration, *self._transports.given)
        return duplicate

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_transports": self._transports.given, "_log": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transports = _Transports(self.configuration, *state["_transports"])
        self._log = WireLog(self.configuration)

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones.

        Those of an event loop that runs are closed by that loop, soon; `aclose` waits for it.
        """
        for transport in self._transports.made():
            transport.close()

    async def aclose(self) -> None:
        """Close in an event loop: as `close`, and wait until it is done."""
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

    def _check_header(self, name: str, value: str) -> None:
        _check_header(name, value)
        is_key = name.lower() in map(str.lower, self.configuration.key_headers.values())
        if is_key and not value:
            raise ApiValueError(f"header {name!r}: the key is empty")

    def _headers(self, extra_headers: Mapping[str, str], media_type: str | None) -> Headers:
        headers = Headers(self.default_headers)  # which the user has set, so they come first
        if "Accept" not in headers:
            headers["Accept"] = "application/json"
        if media_type is None:
            headers.pop("Content-Type", None)
        elif "Content-Type" not in headers or not is_json({"Content-Type": media_type}):
            headers["Content-Type"] = media_type
        if self._cookie and "Cookie" not in headers:
            headers["Cookie"] = self._cookie
        for scheme, header in self.configuration.key_headers.items():
            if header in headers:
                continue
            if key := self.configuration.credential(scheme):
                headers.set_secret(header, key)
        for name, value in extra_headers.items():
            self._check_header(name, value)  # before a name that is none is put in lower case
            headers[name] = value
        for name, value in headers.reveal().items():
            if not _FIELD.fullmatch(f"{name}:{value}"):
                _check_header(name, value)
        return headers


def _fields(argument: str, headers: object) -> Mapping[str, str]:
    """Return the headers that an argument gives; raise if that is no dict, or names one twice."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise ApiTypeError(f"{argument} must be a dict of str, not {type(headers).__name__}")
    fields = dict(cast("Mapping[str, str]", headers))
    for name in fields:
        _check_header(name, "")
    if len(set(map(str.lower, fields))) < len(fields):
        raise ApiValueError(f"{argument} has a header twice, differing only in case")
    return fields


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not is_header_name(name):
        raise ApiValueError(f"{brief(name)} is no header name")
    if name.lower() in _FRAMING:
        raise ApiValueError(f"header {name!r} is computed from the body, and can't be set")
    _check_value(f"header {name!r}", value)


def _check_value(name: str, value: object) -> None:
    if not is_header_value(value):
        raise ApiValueError(
            f"{name}: the value must be a str of Latin-1 characters without line breaks"
        )


def _user_agent() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return f"humanloop-python/{__version__} ({sys.implementation.name} {python}; {sys.platform})"


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name != "Api":
            return removed_names(__name__)(name)
        # Version 0.5 had the base of the tags here. `api` imports this module, so it can't be
        # imported before somebody asks for it.
        return import_module("humanloop.api").Api
