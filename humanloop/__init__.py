"""The typed Python client of the Humanloop API, version 4.

    from humanloop import Humanloop

    client = Humanloop(api_key="...")
    client.log(project="greetings", output="Hello!", config={"model": "gpt-4", "type": "model"})

Public names are imported when they are first used (PEP 562), so `import humanloop` costs next to
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from humanloop.api_client import ApiClient, RequestOptions
    from humanloop.api_response import ApiResponse
    from humanloop.client import Humanloop
    from humanloop.configuration import Configuration
    from humanloop.exceptions import (
        ApiAttributeError,
        ApiConnectionError,
        ApiException,
        ApiKeyError,
        ApiResponseDecodingError,
        ApiResponseError,
        ApiResponseValidationError,
        ApiTimeoutError,
        ApiTlsError,
        ApiTypeError,
        ApiValueError,
        BadRequestError,
        ClientConfigurationError,
        ConflictError,
        ForbiddenError,
        InvalidHostConfigurationError,
        MissingRequiredParametersError,
        NotFoundError,
        OpenApiException,
        RateLimitError,
        SchemaValidationError,
        ServerError,
        UnauthorizedError,
        UnprocessableEntityError,
    )

__version__ = "0.6.0"

__all__ = [
    "ApiAttributeError",
    "ApiClient",
    "ApiConnectionError",
    "ApiException",
    "ApiKeyError",
    "ApiResponse",
    "ApiResponseDecodingError",
    "ApiResponseError",
    "ApiResponseValidationError",
    "ApiTimeoutError",
    "ApiTlsError",
    "ApiTypeError",
    "ApiValueError",
    "BadRequestError",
    "ClientConfigurationError",
    "Configuration",
    "ConflictError",
    "ForbiddenError",
    "Humanloop",
    "InvalidHostConfigurationError",
    "MissingRequiredParametersError",
    "NotFoundError",
    "OpenApiException",
    "RateLimitError",
    "RequestOptions",
    "SchemaValidationError",
    "ServerError",
    "UnauthorizedError",
    "UnprocessableEntityError",
    "__version__",
]

_HOMES = {
    "ApiClient": "humanloop.api_client",
    "ApiResponse": "humanloop.api_response",
    "Configuration": "humanloop.configuration",
    "Humanloop": "humanloop.client",
    "RequestOptions": "humanloop.api_client",
}
_LAZY = frozenset(__all__) - {"__version__"}


if not TYPE_CHECKING:  # a type checker would take any name for granted

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_HOMES.get(name, "humanloop.exceptions")), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
