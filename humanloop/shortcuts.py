"""The attributes of the client: the tags of the API, and shortcuts to some of their methods.

A shortcut names a tag and a method, and gives just that method: `client.log` is `client.logs.log`.
Invariants: a tag is imported and made when it is first used, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

from humanloop.forks import no_fork
from humanloop.lazy import cached_property

if TYPE_CHECKING:
    from humanloop.api_response import AsyncGeneratorResponse

__all__ = ["shortcut", "stream_method", "stream_shortcut", "tag"]

Arguments = ParamSpec("Arguments")


def tag(path: str, package: str = "humanloop") -> cached_property[Any]:
    """Return an attribute that holds a tag; path: its class, such as `logs_api.LogsApi`."""
    module, _, name = path.rpartition(".")

    def make(client: Any) -> Any:
        with no_fork.importing():
            tag_class = getattr(import_module(f"{package}.apis.tags.{module}"), name)
        return tag_class(client.api_client)

    return cached_property(make)


def shortcut(path: str, summary: str = "") -> property:
    """Return an attribute that is a method of a tag; path: both names, such as `logs.log`."""
    return property(attrgetter(path), doc=f"`{path}`: {summary}" if summary else f"`{path}`")


def stream_shortcut(path: str) -> property:
    """Return an attribute that is a `stream_method`; path: the async method that it is made of."""
    method = attrgetter(path)
    doc = f"`{path}`, with the pieces of output in `content`, as in version 0.5."
    return property(lambda client: stream_method(method(client)), doc=doc)


def stream_method(
    method: Callable[Concatenate[Any, Arguments], Coroutine[Any, Any, Any]],
) -> Callable[Concatenate[Any, Arguments], Coroutine[Any, Any, AsyncGeneratorResponse]]:
    """Return what version 0.5 had for streams: a coroutine function whose result has `content`.

    method: the async variant of a method with the argument `stream`; takes the same arguments.
    The content yields the pieces of output alone, as they come.
    """

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

    call.__doc__ = method.__doc__
    return call
