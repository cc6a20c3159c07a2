"""ApiClient: an operation and its arguments become a request, a response becomes an `ApiResponse`.

`prepare` and `finish` do all of the work and no I/O; `call` puts a transport between them. What
stays true: keys go only where they belong, a status outside 2xx always raises, and a body is
returned only when it fits its schema. An instance is shared between threads.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from humanloop import schemas
from humanloop.api_response import ApiResponse, Headers
from humanloop.configuration import (
    API_KEY_HEADER,
    SECURITY_SCHEME,
    TIMEOUT,
    Configuration,
    is_timeout,
)
from humanloop.exceptions import (
    ApiException,
    ApiResponseDecodingError,
    ApiResponseValidationError,
    ApiValueError,
    SchemaValidationError,
    describe,
    exception_for_status,
    unexpected_argument,
)
from humanloop.operation import Operation, serialize
from humanloop.schemas.codec import refuse_constant
from humanloop.transport import RawResponse, Request, Transport

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Api", "ApiClient", "RequestOptions"]

ErrorType = TypeVar("ErrorType", bound=ApiException)

logger = logging.getLogger("humanloop")

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.1
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5


class RequestOptions(TypedDict, total=False):
    """What any call takes beside the arguments of its operation.

    timeout: seconds for the whole call, in place of the configuration's; None: no limit.
    skip_deserialization: return the body as plain decoded JSON, not validated.
    extra_headers: sent with this call, before all others in rank.
    """

    timeout: float | None
    skip_deserialization: bool
    extra_headers: Mapping[str, str]


class ApiClient:
    """Calls operations.

    configuration: by default a copy of the default one; header_name, header_value: a header for
    every call; cookie: the header `Cookie` of every call; pool_threads: accepted for code written
    for 0.5, has no effect; transport: what sends the requests, by default `Urllib3Transport`.
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
    ) -> None:
        self.configuration = configuration or Configuration.get_default_copy()
        self.default_headers = Headers()
        self.user_agent = _user_agent()
        if header_name is not None:
            self.set_default_header(header_name, header_value or "")
        self.cookie = cookie
        if transport is not None:
            self.transport = transport

    @cached_property
    def transport(self) -> Transport:
        """What sends the requests; made when it is first needed."""
        from humanloop.transport import Urllib3Transport

        return Urllib3Transport(self.configuration)

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
    ) -> ApiResponse[Any]:
        """Do one operation.

        Raises SchemaValidationError, ApiTypeError or ApiValueError before anything is sent,
        ApiConnectionError when no answer came, ApiException when the answer is no result.
        """
        request = self.prepare(operation, arguments, options)
        logger.debug("%s %s%s", request.method, request.host, request.path)
        response = self.transport.send(request)
        milliseconds = 1000 * response.elapsed
        logger.debug(
            "%s %s: %d in %.0f ms", request.method, request.path, response.status, milliseconds
        )
        return self.finish(operation, request, response, options)

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
        timeout = options.get("timeout", self.configuration.timeout)
        if not is_timeout(timeout):
            raise ApiValueError(f"{operation.name}(): timeout must be {TIMEOUT}, not {timeout!r}")
        path, query, body = serialize(operation, arguments, self.configuration.provider_api_keys)
        headers = self._headers(options.get("extra_headers") or {}, has_body=body is not None)
        return Request(
            operation.method, self.configuration.host, path, query, headers, body, timeout
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
            kind = exception_for_status(response.status)
            body = _decoded_if_possible(response)
            raise self._error(kind, request, response, body, describe(body))
        plain = (options or {}).get("skip_deserialization", False)
        try:
            body = _result(operation, response, plain)
        except SchemaValidationError as error:
            unreadable = error.errors[0].keyword == "json"
            kind = ApiResponseDecodingError if unreadable else ApiResponseValidationError
            unfit = self._error(kind, request, response, response.text, _summary(error))
            unfit.errors = error.errors
            raise unfit from error
        except (ValueError, RecursionError) as error:
            detail = f"the body is not the JSON that was promised: {error}"
            unfit = self._error(ApiResponseDecodingError, request, response, response.text, detail)
            raise unfit from error
        return ApiResponse(response.headers, response.status, response, response.elapsed, body)

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones."""
        if "transport" in self.__dict__:
            self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.configuration!r})"

    def _headers(self, extra_headers: Mapping[str, str], *, has_body: bool) -> Headers:
        fields = [*self.default_headers.items(), ("Accept", "application/json")]
        if has_body:
            fields.append(("Content-Type", "application/json"))
        if self.cookie:
            fields.append(("Cookie", self.cookie))
        if key := self.configuration.get_api_key_with_prefix(SECURITY_SCHEME):
            fields.append((API_KEY_HEADER, key))
        headers = Headers()
        for name, value in [*fields, *extra_headers.items()]:
            _check_header(name, value)
            headers[name] = value
        return headers

    def _error(
        self,
        kind: type[ErrorType],
        request: Request,
        response: RawResponse,
        body: Any,
        detail: str,
    ) -> ErrorType:
        answer = ApiResponse(response.headers, response.status, response, response.elapsed, body)
        detail = self.configuration.redact(detail)
        return kind(api_response=answer, method=request.method, path=request.path, detail=detail)


class Api:
    """What the tags' classes have in common: the client that they call by."""

    def __init__(self, api_client: ApiClient | None = None) -> None:
        self.api_client = api_client or ApiClient()

    def _call(self, operation: Operation, arguments: dict[str, Any]) -> ApiResponse[Any]:
        """Do an operation with the `locals()` of its method."""
        options = arguments.pop("options", None)
        del arguments["self"]
        return self.api_client.call(operation, arguments, options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_client!r})"


def _result(operation: Operation, response: RawResponse, plain: bool) -> Any:
    if operation.response_schema is None:
        return schemas.unset
    if not response.data:
        raise ValueError("it is empty")
    content_type = response.headers.get("Content-Type", "")
    if not _is_json(content_type):
        raise ValueError(f"its Content-Type is {content_type!r}")
    if plain:
        return _decoded(response.data)
    return operation.response_schema.from_json(response.data, direction="response")


def _summary(error: SchemaValidationError) -> str:
    return f"the body does not fit {error.summary}"


def _is_json(content_type: str) -> bool:
    """Whether a media type is JSON: application/json, or with the suffix +json (RFC 6839)."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _decoded(data: bytes) -> Any:
    return json.loads(data, parse_constant=refuse_constant)


def _decoded_if_possible(response: RawResponse) -> Any:
    """The body of an error: decoded where it is JSON, else its text."""
    if _is_json(response.headers.get("Content-Type", "")):
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
