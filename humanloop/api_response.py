"""The result of a call: `ApiResponse`, the same whichever library did the I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from humanloop.http import Headers, RawResponse

__all__ = ["ApiResponse", "AsyncApiResponse", "AsyncGeneratorResponse", "Headers"]

T = TypeVar("T")


@dataclass
class ApiResponse(Generic[T]):
    """The answer to one call.

    headers: case-insensitive; status: 200, 201, 204; response: the answer as it came, with
    `status`, `reason`, `headers` and `data` (bytes); round_trip_time: seconds from sending to the
    last byte; body: the validated schema instance, or, with `bodies="plain"`, the same in plain
    dict, list, str, int, float, bool and None; `schemas.unset` where the operation has none.
    """

    headers: Headers
    status: int
    response: RawResponse
    round_trip_time: float
    body: T


@dataclass
class AsyncGeneratorResponse:
    """The result of a `*_stream` method, as in version 0.5.

    content: an async generator of `{"output": str, "id": str}`; response: the answer's head.
    """

    content: AsyncGenerator[dict[Literal["output", "id"], str], None]
    headers: Headers
    status: int
    response: Any


AsyncApiResponse = ApiResponse
"""The name that the answer to an asynchronous call had in version 0.5."""
