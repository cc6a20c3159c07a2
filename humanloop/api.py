"""What the tags' classes have in common: how a method becomes a call.

A generated method hands its operation and its `locals()` to `_call` of its `self`. What that does
is up to the caller: `Api` calls, `AsyncCaller` gives a coroutine, `Preparer` gives the request. So
each operation is written once, and its asynchronous twin is the same function with another `self`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from humanloop.api_client import ApiClient, RequestOptions
    from humanloop.operation import Operation
    from humanloop.transport import Request

__all__ = ["Api", "AsyncCaller", "Preparer", "iteration_twin", "twin"]

CallableType = TypeVar("CallableType", bound=Callable[..., Any])
Locals = dict[str, Any]


class Api:
    """A tag: the client that its methods call by."""

    def __init__(self, api_client: ApiClient | None = None) -> None:
        if api_client is None:
            from humanloop.api_client import ApiClient

            api_client = ApiClient()
        self.api_client = api_client

    def _call(self, operation: Operation, arguments: Locals) -> Any:
        return self.api_client.call(operation, *_split(arguments))

    def _iterate(self, operation: Operation, arguments: Locals) -> Any:
        from humanloop.pagination import PageIterator

        iterator: PageIterator[Any] = PageIterator(**_paging(self._call, operation, arguments))
        return iterator

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_client!r})"


class AsyncCaller:
    """What a tag's method gets as its `self` to be asynchronous."""

    def __init__(self, api_client: ApiClient) -> None:
        self.api_client = api_client

    def _call(self, operation: Operation, arguments: Locals) -> Coroutine[Any, Any, Any]:
        return self.api_client.acall(operation, *_split(arguments))

    def _iterate(self, operation: Operation, arguments: Locals) -> Any:
        from humanloop.pagination import AsyncPageIterator

        paging = _paging(self._call, operation, arguments)
        iterator: AsyncPageIterator[Any] = AsyncPageIterator(**paging)
        return iterator


class Preparer:
    """What a tag's method gets as its `self` to send nothing: its result is the request."""

    def __init__(self, api_client: ApiClient) -> None:
        self.api_client = api_client

    def _call(self, operation: Operation, arguments: Locals) -> Request:
        return self.api_client.prepare(operation, *_split(arguments))

    def _iterate(self, operation: Operation, arguments: Locals) -> Request:
        paging = _paging(self._call, operation, arguments)
        page = paging["first"] if paging["page"] is None else paging["page"]
        request: Request = paging["fetch"](page, paging["size"])
        return request


def twin(method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The asynchronous twin of a tag's method, with the same arguments."""

    @functools.wraps(method)
    async def call(self: Api, *args: Any, **kwargs: Any) -> Any:
        return await method(AsyncCaller(self.api_client), *args, **kwargs)

    return _named_as_twin(call, method)


def iteration_twin(method: Callable[..., Any]) -> Callable[..., Any]:
    """The asynchronous twin of a method that iterates over pages."""

    @functools.wraps(method)
    def iterate(self: Api, *args: Any, **kwargs: Any) -> Any:
        return method(AsyncCaller(self.api_client), *args, **kwargs)

    return _named_as_twin(iterate, method)


def _named_as_twin(twin: CallableType, method: Callable[..., Any]) -> CallableType:
    twin.__name__ = f"a{method.__name__}"
    head, dot, name = method.__qualname__.rpartition(".")
    twin.__qualname__ = f"{head}{dot}a{name}"
    return twin


def _split(arguments: Locals) -> tuple[Locals, RequestOptions | None]:
    """The `locals()` of a method as the arguments of its operation, and its options."""
    options = arguments.pop("options", None)
    del arguments["self"]
    return arguments, options


def _paging(
    call: Callable[[Operation, Locals], Any], operation: Operation, arguments: Locals
) -> dict[str, Any]:
    """What makes an iterator over pages, from the `locals()` of its method."""
    own = {name: arguments.pop(name) for name in ("page", "size", "progress")}
    first = next(p.schema["default"] for p in operation.parameters if p.name == "page")
    # To read a page again changes nothing, even where the operation is a POST.
    options = {"idempotent": True, **arguments.pop("options", {})}

    def fetch(page: int, size: int | None) -> Any:
        return call(operation, {**arguments, "options": options, "page": page, "size": size})

    return {**own, "fetch": fetch, "first": first, "description": operation.name}
