"""The client's `*_stream` methods: what version 0.5 had for streams.

They take the arguments of a method that answers with a stream when it is told so, and give its
pieces of output alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from humanloop.api_response import AsyncGeneratorResponse

__all__ = ["stream_method"]


def stream_method(method: Callable[..., Any]) -> Callable[..., Any]:
    """An asynchronous method as a coroutine function whose result has the outputs as `content`."""

    async def call(*args: Any, **kwargs: Any) -> AsyncGeneratorResponse:
        from humanloop.api_response import AsyncGeneratorResponse
        from humanloop.streaming import outputs

        body = kwargs.get("body")
        if isinstance(body, Mapping):
            kwargs["body"] = {**cast("Mapping[str, Any]", body), "stream": True}
        else:
            kwargs["stream"] = True
        stream = await method(*args, **kwargs)
        return AsyncGeneratorResponse(
            content=outputs(stream),
            headers=stream.headers,
            status=stream.status,
            response=stream.response,
        )

    return call
