"""The typed Python client of the Humanloop API, version 4.

    from humanloop import Humanloop

    client = Humanloop(api_key="...")
    client.log(project="greetings", output="Hello!", config={"model": "gpt-4", "type": "model"})

Public names are imported when they are first used (PEP 562), so `import humanloop` costs next to
nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module

from humanloop.version import __version__

TYPE_CHECKING = False  # as type checkers know it; `typing` takes longer than all of this module
if TYPE_CHECKING:
    from typing import Any

    from humanloop.api_client import ApiClient, RequestOptions
    from humanloop.api_response import ApiResponse
    from humanloop.client import Humanloop
    from humanloop.configuration import Configuration
    from humanloop.exceptions import (
        ApiAttributeError,
        ApiConnectionError,
        ApiException,
        ApiKeyError,
        ApiProxyError,
        ApiResponseDecodingError,
        ApiResponseError,
        ApiResponseTooLargeError,
        ApiResponseValidationError,
        ApiStreamBrokenError,
        ApiStreamEventError,
        ApiStreamingException,
        ApiStreamTimeoutError,
        ApiTimeoutError,
        ApiTlsError,
        ApiTypeError,
        ApiValueError,
        BadGatewayError,
        BadRequestError,
        ClientClosedError,
        ClientConfigurationError,
        ConflictError,
        EvaluationError,
        EvaluationFailedError,
        EvaluationTimeoutError,
        ForbiddenError,
        GatewayTimeoutError,
        InternalServerError,
        InvalidHostConfigurationError,
        MissingRequiredParametersError,
        NaiveDatetimeWarning,
        NotFoundError,
        OpenApiException,
        RateLimitError,
        RequestTimeoutError,
        ResponseValidationWarning,
        SchemaValidationError,
        ServerError,
        ServiceUnavailableError,
        SpoolError,
        SpoolFullError,
        TracingWarning,
        UnauthorizedError,
        UnprocessableEntityError,
    )
    from humanloop.retries import RetryPolicy
    from humanloop.spool.options import Flushed, SpoolOptions, SpoolStats
    from humanloop.streaming import AsyncStream, Stream
    from humanloop.tracing.wrapping import wrap

__all__ = [
    "ApiAttributeError",
    "ApiClient",
    "ApiConnectionError",
    "ApiException",
    "ApiKeyError",
    "ApiProxyError",
    "ApiResponse",
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
    "AsyncStream",
    "BadGatewayError",
    "BadRequestError",
    "ClientClosedError",
    "ClientConfigurationError",
    "Configuration",
    "ConflictError",
    "EvaluationError",
    "EvaluationFailedError",
    "EvaluationTimeoutError",
    "Flushed",
    "ForbiddenError",
    "GatewayTimeoutError",
    "Humanloop",
    "InternalServerError",
    "InvalidHostConfigurationError",
    "MissingRequiredParametersError",
    "NaiveDatetimeWarning",
    "NotFoundError",
    "OpenApiException",
    "RateLimitError",
    "RequestOptions",
    "RequestTimeoutError",
    "ResponseValidationWarning",
    "RetryPolicy",
    "SchemaValidationError",
    "ServerError",
    "ServiceUnavailableError",
    "SpoolError",
    "SpoolFullError",
    "SpoolOptions",
    "SpoolStats",
    "Stream",
    "TracingWarning",
    "UnauthorizedError",
    "UnprocessableEntityError",
    "__version__",
    "wrap",
]

_HOMES = {
    "ApiClient": "humanloop.api_client",
    "ApiResponse": "humanloop.api_response",
    "Configuration": "humanloop.configuration",
    "Humanloop": "humanloop.client",
    "RequestOptions": "humanloop.api_client",
    "RetryPolicy": "humanloop.retries",
    "AsyncStream": "humanloop.streaming",
    "Flushed": "humanloop.spool.options",
    "SpoolOptions": "humanloop.spool.options",
    "SpoolStats": "humanloop.spool.options",
    "Stream": "humanloop.streaming",
    "wrap": "humanloop.tracing.wrapping",
}
_LAZY = frozenset(__all__) - {"__version__"}


if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            from humanloop.removed import explain

            # An AttributeError, so that hasattr works; imports ask the finder below.
            gone = explain(f"{__name__}.{name}")
            raise AttributeError(gone or f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_HOMES.get(name, "humanloop.exceptions")), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _RemovedNames:
    """The finder that names the replacement of a module of version 0.5; it is asked last.

    `from humanloop.schemas import ComposedSchema` asks as well: the name might be a module.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Raise ImportError for a module or name of 0.5 that is gone."""
        if name.startswith("humanloop.") and "._" not in name:
            from humanloop.removed import refuse

            refuse(name)


sys.meta_path.append(_RemovedNames)
