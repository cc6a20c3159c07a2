"""Every error that the package raises, split by whose fault it was.

    OpenApiException
    |-- ClientConfigurationError            the configuration can't work
    |   `-- InvalidHostConfigurationError   its host is no usable base URL
    |-- SchemaValidationError (ValueError)  a value does not fit its schema; nothing was sent
    |-- ApiTypeError (TypeError)            a call with arguments that do not belong together
    |   `-- MissingRequiredParametersError  ... or without some that it needs
    |-- SpoolError                          what is to be sent later can't be kept
    |   `-- SpoolFullError                  ... since there is no room
    |-- ApiValueError (ValueError), ApiKeyError (KeyError), ApiAttributeError (AttributeError)
    |-- ApiConnectionError                  no answer came: refused, unknown host, dropped, cut
    |   |-- ApiTimeoutError (TimeoutError)  ... within the time allowed
    |   |-- ApiTlsError                     ... since TLS failed, such as a certificate not trusted
    |   |-- ApiProxyError                   ... since the proxy did not connect to the host
    |   |-- ApiResponseTooLargeError        ... of a size that is allowed
    |   `-- ClientClosedError               ... before the client was closed
    |-- EvaluationError                     an evaluation has no result
    |   |-- EvaluationFailedError           ... since it failed
    |   `-- EvaluationTimeoutError (TimeoutError)  ... within the time allowed
    `-- ApiException                        the server answered, and the answer is no result
        |-- BadRequestError 400, UnauthorizedError 401, ForbiddenError 403, NotFoundError 404,
        |   RequestTimeoutError 408, ConflictError 409, UnprocessableEntityError 422,
        |   RateLimitError 429
        |-- ServerError 5xx
        |   `-- InternalServerError 500, BadGatewayError 502, ServiceUnavailableError 503,
        |       GatewayTimeoutError 504
        |-- ApiResponseError                a success by its status, with a body that is of no use
        |   |-- ApiResponseDecodingError    no JSON; `body` is its text as it came
        |   `-- ApiResponseValidationError  JSON that does not fit its schema; `body` likewise
        `-- ApiStreamingException           a stream of events failed; `events` is what came so far
            |-- ApiStreamEventError         the server reported an error in an event
            `-- ApiStreamBrokenError        it ended before its end (an ApiConnectionError, too)
                `-- ApiStreamTimeoutError   nothing more came in time (an ApiTimeoutError, too)

An error of the server that answers a call for a stream is both of its class by status and an
`ApiStreamingException`.

Invariants: every error pickles and copies with its attributes; a message is one short line without
secrets, and a second one with a hint where we know what may help; no exception of a transport
library gets past `humanloop.transport`. Every error about a request that was sent has `method`,
`host`, `path`, `status`, `reason`, `headers`, `body`, `tries`, `elapsed` and `hint`.
"""

from __future__ import annotations

import copyreg
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from humanloop.lazy import removed_names
from humanloop.secrets import CANDIDATES, did_you_mean, one_line, printable, shorten, shorten_middle

if TYPE_CHECKING:
    from humanloop.api_response import ApiResponse

__all__ = [
    "ApiAttributeError",
    "ApiConnectionError",
    "ApiException",
    "ApiKeyError",
    "ApiProxyError",
    "ApiResponseDecodingError",
    "ApiResponseError",
    "ApiResponseTooLargeError",
    "ApiResponseValidationError",
    "ApiStreamBrokenError",
    "ApiStreamEventError",
    "ApiStreamTimeoutError",
    "ApiStreamingException",
    "ApiTimeoutError",
    "ApiTlsError",
    "ApiTypeError",
    "ApiValueError",
    "BadGatewayError",
    "BadRequestError",
    "ClientClosedError",
    "ClientConfigurationError",
    "ConflictError",
    "ErrorDetail",
    "EvaluationError",
    "EvaluationFailedError",
    "EvaluationTimeoutError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "InternalServerError",
    "InvalidHostConfigurationError",
    "MissingRequiredParametersError",
    "NaiveDatetimeWarning",
    "NotFoundError",
    "OpenApiException",
    "RateLimitError",
    "RequestTimeoutError",
    "ResponseValidationWarning",
    "SchemaValidationError",
    "ServerError",
    "ServiceUnavailableError",
    "SpoolError",
    "SpoolFullError",
    "TracingWarning",
    "UnauthorizedError",
    "UnprocessableEntityError",
    "describe",
    "exception_for_status",
    "exception_for_stream",
    "render_path",
    "unexpected_argument",
    "warn",
]

SHOWN_CHARACTERS = 300
"""Length of the longest text of a response, and of the longest summary, in a message."""

SHOWN_ERRORS = 50
SHOWN_PLACE = 200
"""The most validation errors in a message, and the most characters of the place of each."""


def render_path(path: Sequence[str | int]) -> str:
    """Return a JSON pointer (RFC 6901): `("a", 0)` is `/a/0`; the root is the empty string."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


class OpenApiException(Exception):
    """The root of every error that this package raises.

    Pickles and copies by its attributes, whatever its constructor asks for.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self),), {**self.__dict__, "args": self.args}  # type: ignore[attr-defined]


# -- an evaluation without a result ---------------------------------------------------------------


class EvaluationError(OpenApiException):
    """An evaluation that was waited for has no result. `evaluation` is as it was last read."""

    def __init__(self, message: str, evaluation: Mapping[str, Any]) -> None:
        self.evaluation = evaluation
        super().__init__(message)


class EvaluationFailedError(EvaluationError):
    """The evaluation has ended as `failed`: no testcase has an output."""


class EvaluationTimeoutError(EvaluationError, TimeoutError):
    """The evaluation has not ended within the time allowed. It goes on; wait for it again."""


# -- what can't be kept to be sent later -----------------------------------------------------------


class SpoolError(OpenApiException):
    """A log or feedback can't be kept to be sent later. The system's error is the `__cause__`."""


class SpoolFullError(SpoolError):
    """The spool has its `max_bytes` (then there is no `__cause__`), or the disk is full."""


# -- a value or a call that can't be sent ---------------------------------------------------------


class ClientConfigurationError(OpenApiException):
    """A configuration that can't work; the message says what to give instead."""


class InvalidHostConfigurationError(ClientConfigurationError):
    """A `host` that is no usable base URL. `host` is as given, without credentials."""

    def __init__(self, host: str, reason: str) -> None:
        self.host = host
        self.reason = reason
        super().__init__(f"invalid host {host!r}: {reason}")


class _LocatedError(OpenApiException):
    """An error with a message and, where known, the path of the item that it is about."""

    def __init__(self, msg: str = "", path_to_item: Sequence[str | int] | None = None) -> None:
        self.path_to_item = path_to_item
        self.full_msg = f"{msg} at {render_path(path_to_item)}" if path_to_item else msg
        super().__init__(self.full_msg)

    def suggest(self, name: object, known: Iterable[str]) -> None:
        """Let the message end with the one of `known` that `name` was probably meant to be.

        It is looked for when the message is read: programs that catch the error don't wait for it.
        """
        self._suggestion = (name, (*islice(known, CANDIDATES),))

    def __str__(self) -> str:  # KeyError would show the repr of its message
        name, known = self.__dict__.get("_suggestion", (None, ()))
        return self.full_msg + (did_you_mean(name, known) if isinstance(name, str) else "")


class ApiTypeError(_LocatedError, TypeError):
    """A value, or a call's arguments, of the wrong type."""

    def __init__(
        self,
        msg: str = "",
        invalid_value: Any = None,
        path_to_item: Sequence[str | int] | None = None,
        valid_classes: tuple[type, ...] | None = None,
        key_type: bool | None = None,
    ) -> None:
        self.invalid_value = invalid_value
        self.valid_classes = valid_classes
        self.key_type = key_type
        super().__init__(msg, path_to_item)


class ApiValueError(_LocatedError, ValueError):
    """A value of the right type that is not allowed."""


class ApiKeyError(_LocatedError, KeyError):
    """A key that is not there."""


class ApiAttributeError(_LocatedError, AttributeError):
    """An attribute that is not there, or that can't be set."""


class MissingRequiredParametersError(ApiTypeError):
    """A call without arguments that its operation requires; the message names all of them."""


# A named tuple, since importing `dataclasses` would double the time to make a client.
class ErrorDetail(NamedTuple):
    """One thing that is wrong with a value.

    path: the keys and indices that lead to it, from the outermost value inwards.
    keyword: the schema keyword that it breaks, such as `type` or `required`.
    message: what came and what was wanted, in one line without the place.
    """

    path: tuple[str | int, ...]
    keyword: str
    message: str

    @property
    def pointer(self) -> str:
        """The place as a JSON pointer (RFC 6901); empty for the outermost value."""
        return render_path(self.path)

    def __str__(self) -> str:
        # A key may hold anything; what is printed stays one line that can be encoded.
        place = shorten_middle(printable(self.pointer), SHOWN_PLACE)
        return f"{place or '(top level)'}: {self.message}"


class SchemaValidationError(OpenApiException, ValueError):
    """A value that does not fit its schema.

    errors: everything that is wrong, outermost and leftmost first.
    schema_name: the name of the schema that was asked for.
    """

    def __init__(self, errors: Sequence[ErrorDetail], schema_name: str = "value") -> None:
        self.errors = tuple(errors)
        self.schema_name = schema_name
        super().__init__(self.errors, schema_name)

    @property
    def is_unreadable(self) -> bool:
        """True if the text can't be read as JSON, so that the schema had no say."""
        return self.errors[0].keyword in ("json", "depth")

    @property
    def summary(self) -> str:
        """The first error, and how many more there are, in one line that fits a log."""
        first = shorten_middle(str(self.errors[0]), SHOWN_CHARACTERS)
        more = len(self.errors) - 1
        return f"{self.schema_name}: {first}" + (f" (and {more:,} more)" if more else "")

    def __str__(self) -> str:
        count = len(self.errors)
        lines = [f"{self.schema_name}: {count} error{'s' if count != 1 else ''}"]
        lines += [f"  {error}" for error in self.errors[:SHOWN_ERRORS]]
        if count > SHOWN_ERRORS:
            lines.append(f"  ... and {count - SHOWN_ERRORS} more, in .errors")
        return "\n".join(lines)


# -- a request without a result -------------------------------------------------------------------


class _RequestError(OpenApiException):
    """A request was sent and has no result: what is known of it."""

    method: str | None = None
    host: str | None = None
    path: str | None = None
    status: int | None = None
    reason: str | None = None
    headers: Mapping[str, str] | None = None
    body: Any = None
    tries: int = 1
    elapsed: float | None = None
    hint: str = ""
    """Advice for the reader of the message, in a line of its own; empty where there is none."""

    def _said(self, what: str) -> str:
        """Return a message: what happened, how often it was tried if more than once, the hint."""
        effort = f" ({self.tries} tries in {self.elapsed or 0:.3g} s)" if self.tries > 1 else ""
        return f"{what}{effort}" + (f"\n  {self.hint}" if self.hint else "")


class ApiConnectionError(_RequestError):
    """No answer came. The transport's own error is the `__cause__`.

    method, path: of the request, without query; host: the base URL that it was sent to; sent:
    whether the request may have arrived; tries: how often it was sent; elapsed: seconds, all tries
    and the waits between them. `status`, `headers` and `body`, of an answer, are None.
    """

    def __init__(
        self,
        reason: str,
        *,
        method: str = "",
        host: str = "",
        path: str = "",
        sent: bool = True,
    ) -> None:
        self.reason = one_line(reason)
        self.method = method
        self.host = host
        self.path = path
        self.sent = sent
        super().__init__(self.reason)

    def __str__(self) -> str:
        reason = shorten(self.reason or "", SHOWN_CHARACTERS)
        return self._said(f"{self.method} {self.host}{self.path}: {reason}".lstrip(" :"))


class ApiTimeoutError(ApiConnectionError, TimeoutError):
    """No answer, or not the whole of it, came within the time allowed."""


class ApiProxyError(ApiConnectionError):
    """The proxy answered CONNECT (RFC 9110 section 9.3.6) with an error: `proxy_status`.

    Nothing of the request was sent. After 4xx there is no other try: a wrong password, repeated,
    may lock the account.
    """

    proxy_status: int = 0


class ApiTlsError(ApiConnectionError):
    """No secure connection could be made; nothing of the request was sent."""


class ApiResponseTooLargeError(ApiConnectionError):
    """The answer is larger than the configuration's `max_response_bytes`."""


class ClientClosedError(ApiConnectionError):
    """The client was closed while the call was under way."""


class ApiException(_RequestError):
    """The server's answer is no result.

    status, reason, headers: of the answer; body: decoded where it was JSON, else its text;
    round_trip_time: seconds, of the last try; method, path: of the request, without query; host:
    the base URL that it was sent to; tries: how often it was sent; elapsed: seconds, all tries and
    the waits between them.
    """

    def __init__(
        self,
        status: int | None = None,
        reason: str | None = None,
        api_response: ApiResponse[Any] | None = None,
        *,
        method: str | None = None,
        host: str | None = None,
        path: str | None = None,
        detail: str | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.body = None
        self.headers = None
        self.round_trip_time: float | None = None
        self.method = method
        self.host = host
        self.path = path
        if api_response is not None:
            self.status = api_response.status
            self.reason = api_response.response.reason if reason is None else reason
            self.body = api_response.body
            self.headers = api_response.headers
            self.round_trip_time = api_response.round_trip_time
        self.detail = describe(self.body) if detail is None else detail
        Exception.__init__(self, self.status, self.reason)  # some subclasses have two bases

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.method, self.path)))
        code = " ".join(str(part) for part in (self.status, self.reason) if part not in (None, ""))
        code = shorten(one_line(code), SHOWN_CHARACTERS)
        said = ": ".join(filter(None, (code, where, self.detail))) or type(self).__name__
        return self._said(said)


class BadRequestError(ApiException):
    """400: the server can't make sense of the request."""


class UnauthorizedError(ApiException):
    """401: the API key is missing or wrong."""


class ForbiddenError(ApiException):
    """403: the API key does not allow this."""


class NotFoundError(ApiException):
    """404: no such object, or no such path under this host."""


class RequestTimeoutError(ApiException):
    """408: the server did not wait for the whole of the request."""


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


class InternalServerError(ServerError):
    """500: the server failed, and does not say why."""


class BadGatewayError(ServerError):
    """502: what stands before the server got no good answer from it."""


class ServiceUnavailableError(ServerError):
    """503: the server can't answer now; the header `Retry-After` may say when to come back."""


class GatewayTimeoutError(ServerError):
    """504: what stands before the server got no answer from it in time."""


class ApiResponseError(ApiException):
    """A success by its status, whose body is of no use.

    body: its text as it came; errors: what does not fit, as far as it could be decoded.
    """

    errors: tuple[ErrorDetail, ...] = ()


class ApiResponseDecodingError(ApiResponseError):
    """The body is not the JSON that the operation promises."""


class ApiResponseValidationError(ApiResponseError):
    """The body is JSON, and does not fit the operation's schema: `errors` says where."""


class ApiStreamingException(ApiException):
    """A stream of events failed; `events` is what came of it so far."""

    events: tuple[Any, ...] = ()


class ApiStreamEventError(ApiStreamingException):
    """The server reported an error in an event; `body` is the event's data, decoded if JSON."""


class ApiStreamBrokenError(ApiStreamingException, ApiConnectionError):
    """The stream ended before its end; the transport's error, if there is one, is the cause."""

    sent = True


class ApiStreamTimeoutError(ApiStreamBrokenError, ApiTimeoutError):
    """Nothing more of the stream came within the time allowed."""


class ResponseValidationWarning(UserWarning):
    """A response does not fit its schema, and the configuration says to take it as it is."""


class TracingWarning(UserWarning):
    """Tracing failed; the code that it traces went on."""


class NaiveDatetimeWarning(UserWarning):
    """A datetime without time zone was taken as UTC, though `datetime.now()` is local time."""


_NOT_THE_USERS = (__name__.partition(".")[0], "asyncio", "pydantic")


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the program that led here, so that Python shows it once for each line.

    That is the innermost one outside of this package and of those that call it for the user.
    """
    import inspect  # takes longer to import than all of this module

    frame = inspect.currentframe()
    assert frame is not None
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_USERS:
        frame = frame.f_back
    module, registry = frame.f_globals, frame.f_globals.setdefault("__warningregistry__", {})
    file, line = frame.f_code.co_filename, frame.f_lineno
    warnings.warn_explicit(message, category, file, line, module.get("__name__"), registry)


_BY_STATUS: Mapping[int, type[ApiException]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    408: RequestTimeoutError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    500: InternalServerError,
    502: BadGatewayError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
}

_FOR_STREAMS: dict[type[ApiException], type[ApiException]] = {}  # one for each class, at most

ExceptionType = TypeVar("ExceptionType", bound=ApiException)


def exception_for_status(status: int) -> type[ApiException]:
    """Return the class of the error for a response with this status."""
    if 500 <= status <= 599:
        return _BY_STATUS.get(status, ServerError)
    return _BY_STATUS.get(status, ApiException)


def exception_for_stream(kind: type[ExceptionType]) -> type[ExceptionType]:
    """Return a class that is both `kind` and an ApiStreamingException, and named as `kind`."""
    if issubclass(kind, ApiStreamingException):
        return kind
    if issubclass(ApiStreamingException, kind):
        return cast("type[ExceptionType]", ApiStreamingException)
    made = _FOR_STREAMS.get(kind)
    if made is None:
        namespace = {"__reduce__": _reduce_stream_error, "__doc__": kind.__doc__}
        make: Any = type
        made = make(kind.__name__, (kind, ApiStreamingException), namespace)
        made = _FOR_STREAMS.setdefault(kind, made)
    return cast("type[ExceptionType]", made)


def _reduce_stream_error(error: ApiException) -> tuple[Any, ...]:
    kind = type(error).__mro__[1]
    return _new_stream_error, (kind,), {**error.__dict__, "args": error.args}


def _new_stream_error(kind: type[ApiException]) -> ApiException:
    made = exception_for_stream(kind)
    return made.__new__(made)


def describe(body: Any, redact: Callable[[str], str] | None = None) -> str:
    """Return the server's own words about an error, in one line; `redact` takes secrets out."""
    text = body if isinstance(body, str) else ""
    if isinstance(body, Mapping):
        words = cast("Mapping[str, Any]", body)
        said = (words.get(key) for key in ("detail", "message", "error"))
        text = next((word for word in said if isinstance(word, str)), "")
    text = text or "; ".join(map(_described, _entries(body)))
    # Redacted first, since a cut might leave a part of a key.
    text = (redact(text) if redact else text)[: 4 * SHOWN_CHARACTERS]
    return shorten(one_line(text), SHOWN_CHARACTERS)


def _entries(body: Any) -> list[dict[str, Any]]:
    detail = cast("dict[str, Any]", body).get("detail") if isinstance(body, dict) else None
    entries = cast("list[object]", detail) if isinstance(detail, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def _described(entry: Mapping[str, Any]) -> str:
    loc = entry.get("loc")
    place = ".".join(map(str, cast("list[object]", loc))) if isinstance(loc, list) else ""
    return ": ".join(filter(None, (place, str(entry.get("msg", "")))))


def unexpected_argument(function: str, name: str, known: Iterable[str]) -> ApiTypeError:
    """Return the error for an argument that `function` does not take, with the likely name."""
    return ApiTypeError(
        f"{function} got an unexpected argument {name!r}{did_you_mean(name, known)}"
    )


if not TYPE_CHECKING:  # a type checker would take any name for granted
    __getattr__ = removed_names(__name__)
