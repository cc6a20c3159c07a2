"""Every error that the package raises, split by whose fault it was.

    OpenApiException
    |-- ClientConfigurationError            the configuration can't work
    |   `-- InvalidHostConfigurationError   its host is no usable base URL
    |-- SchemaValidationError (ValueError)  a value does not fit its schema; nothing was sent
    |-- ApiTypeError (TypeError)            a call with arguments that do not belong together
    |   `-- MissingRequiredParametersError  ... or without some that it needs
    |-- ApiValueError (ValueError), ApiKeyError (KeyError), ApiAttributeError (AttributeError)
    |-- ApiConnectionError                  no answer came: refused, unknown host, dropped, cut
    |   |-- ApiTimeoutError (TimeoutError)  ... within the time allowed
    |   `-- ApiTlsError                     ... since TLS failed, such as a certificate not trusted
    `-- ApiException                        the server answered, and the answer is no result
        |-- BadRequestError 400, UnauthorizedError 401, ForbiddenError 403, NotFoundError 404,
        |   ConflictError 409, UnprocessableEntityError 422, RateLimitError 429, ServerError 5xx
        `-- ApiResponseError                a success by its status, with a body that is of no use
            |-- ApiResponseDecodingError    no JSON; `body` is its text as it came
            `-- ApiResponseValidationError  JSON that does not fit its schema; `body` likewise

What stays true: all of them pickle and copy with their attributes, a message is one short text
without secrets, and no exception of a transport library gets past `humanloop.transport`.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from humanloop.exceptions_base import (
    ApiAttributeError,
    ApiKeyError,
    ApiTypeError,
    ApiValueError,
    OpenApiException,
)

if TYPE_CHECKING:
    from humanloop.api_response import ApiResponse
    from humanloop.schemas import ErrorDetail, SchemaValidationError


def __getattr__(name: str) -> Any:
    # A client is made without the schemas: they take longer to import than all else.
    if name == "SchemaValidationError":
        from humanloop.schemas import SchemaValidationError

        return SchemaValidationError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ApiAttributeError",
    "ApiConnectionError",
    "ApiException",
    "ApiKeyError",
    "ApiResponseDecodingError",
    "ApiResponseError",
    "ApiResponseValidationError",
    "ApiTimeoutError",
    "ApiTlsError",
    "ApiTypeError",
    "ApiValueError",
    "BadRequestError",
    "ClientConfigurationError",
    "ConflictError",
    "ForbiddenError",
    "InvalidHostConfigurationError",
    "MissingRequiredParametersError",
    "NotFoundError",
    "OpenApiException",
    "RateLimitError",
    "SchemaValidationError",
    "ServerError",
    "UnauthorizedError",
    "UnprocessableEntityError",
    "describe",
    "exception_for_status",
    "unexpected_argument",
]

SHOWN_CHARACTERS = 300
"""How much of an answer's own text a message shows."""


class _PicklableError(OpenApiException):
    """Pickles by its attributes, whatever its constructor asks for."""

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self),), {**self.__dict__, "args": self.args}  # type: ignore[attr-defined]


class ClientConfigurationError(_PicklableError):
    """A configuration that can't work; the message says what to give instead."""


class InvalidHostConfigurationError(ClientConfigurationError):
    """A `host` that is no usable base URL. `host` is as given, without credentials."""

    def __init__(self, host: str, reason: str) -> None:
        self.host = host
        self.reason = reason
        super().__init__(f"invalid host {host!r}: {reason}")


class MissingRequiredParametersError(ApiTypeError):
    """A call without arguments that its operation requires; the message names all of them."""


class ApiConnectionError(_PicklableError):
    """No answer came. The transport's own error is the `__cause__`.

    method, path: of the request, without query; host: the base URL that it was sent to.
    """

    def __init__(self, reason: str, *, method: str = "", host: str = "", path: str = "") -> None:
        self.reason = reason
        self.method = method
        self.host = host
        self.path = path
        super().__init__(reason)

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path}: {self.reason}".lstrip(" :")


class ApiTimeoutError(ApiConnectionError, TimeoutError):
    """No answer, or not the whole of it, came within the time allowed."""


class ApiTlsError(ApiConnectionError):
    """No secure connection could be made; nothing of the request was sent."""


class ApiException(_PicklableError):
    """The server's answer is no result.

    status, reason: of the answer; headers: its headers; body: what it carried, decoded where it was
    JSON, else its text; round_trip_time: seconds; method, path: of the request, without query.
    """

    def __init__(
        self,
        status: int | None = None,
        reason: str | None = None,
        api_response: ApiResponse[Any] | None = None,
        *,
        method: str | None = None,
        path: str | None = None,
        detail: str | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.body: Any = None
        self.headers: Mapping[str, str] | None = None
        self.round_trip_time: float | None = None
        self.method = method
        self.path = path
        if api_response is not None:
            self.status = api_response.status
            self.reason = api_response.response.reason
            self.body = api_response.body
            self.headers = api_response.headers
            self.round_trip_time = api_response.round_trip_time
        self.detail = describe(self.body) if detail is None else detail
        super().__init__(self.status, self.reason)

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.method, self.path)))
        code = " ".join(str(part) for part in (self.status, self.reason) if part not in (None, ""))
        return ": ".join(filter(None, (code, where, self.detail))) or type(self).__name__


class BadRequestError(ApiException):
    """400: the server can't make sense of the request."""


class UnauthorizedError(ApiException):
    """401: the API key is missing or wrong."""


class ForbiddenError(ApiException):
    """403: the API key does not allow this."""


class NotFoundError(ApiException):
    """404: no such object, or no such path under this host."""


class ConflictError(ApiException):
    """409: the request contradicts the state of the object."""


class UnprocessableEntityError(ApiException):
    """422: the server refused values of the request; `errors` says which."""

    @property
    def errors(self) -> tuple[Mapping[str, Any], ...]:
        """The entries of `detail`, each with `loc`, `msg` and `type`."""
        return tuple(_entries(self.body))


class RateLimitError(ApiException):
    """429: too many requests; the header `Retry-After` may say when to come back."""


class ServerError(ApiException):
    """5xx: the server failed."""


class ApiResponseError(ApiException):
    """A success by its status, whose body is of no use.

    body: its text as it came; errors: what does not fit, as far as it could be decoded.
    """

    errors: tuple[ErrorDetail, ...] = ()


class ApiResponseDecodingError(ApiResponseError):
    """The body is not the JSON that the operation promises."""


class ApiResponseValidationError(ApiResponseError):
    """The body is JSON, and does not fit the operation's schema: `errors` says where."""


_BY_STATUS: Mapping[int, type[ApiException]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def exception_for_status(status: int) -> type[ApiException]:
    """The class of the error that an answer with this status is."""
    if 500 <= status <= 599:
        return ServerError
    return _BY_STATUS.get(status, ApiException)


def describe(body: Any) -> str:
    """The server's own words about an error, in one line."""
    text = body if isinstance(body, str) else ""
    if isinstance(body, Mapping):
        words = cast("Mapping[str, Any]", body)
        said = (words.get(key) for key in ("detail", "message", "error"))
        text = next((word for word in said if isinstance(word, str)), "")
    text = text or "; ".join(map(_described, _entries(body)))
    text = " ".join(text[: 4 * SHOWN_CHARACTERS].split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _entries(body: Any) -> list[dict[str, Any]]:
    detail = cast("dict[str, Any]", body).get("detail") if isinstance(body, dict) else None
    entries = cast("list[object]", detail) if isinstance(detail, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def _described(entry: Mapping[str, Any]) -> str:
    loc = entry.get("loc")
    place = ".".join(map(str, cast("list[object]", loc))) if isinstance(loc, list) else ""
    return ": ".join(filter(None, (place, str(entry.get("msg", "")))))


def unexpected_argument(function: str, name: str, known: Iterable[str]) -> ApiTypeError:
    """The error for a keyword argument that `function` does not take, with the likely name."""
    from difflib import get_close_matches

    likely = get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {likely[0]!r}?" if likely else ""
    return ApiTypeError(f"{function} got an unexpected argument {name!r}{hint}")
