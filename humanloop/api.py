"""Api, the base of the tags: how a method of a tag becomes a call.

A generated method hands its operation and its `locals()` to `_call` of its `self`, so the kind of
`self` decides what happens: `Api` calls, `AsyncInvoker` returns a coroutine, `RequestBuilder`
returns the request. Invariants: each operation is written once; its async variant is the same
function with another `self`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from humanloop.api_client import ApiClient, RequestOptions
from humanloop.exceptions import ApiTypeError
from humanloop.frames import empty_frames, shielded
from humanloop.secrets import Secret

if TYPE_CHECKING:
    from humanloop.http import Request
    from humanloop.operation import Operation
    from humanloop.pagination import AsyncPageIterator, PageIterator

__all__ = [
    "Api",
    "AsyncInvoker",
    "RequestBuilder",
    "async_iteration",
    "async_variant",
    "build_request",
]

Arguments = ParamSpec("Arguments")
Record = TypeVar("Record")
Result = TypeVar("Result")
Locals = dict[str, Any]

PAGE_SIZE = 100
"""The number of records that an iterator over pages asks for at a time, by default."""


class Api:
    """A tag of the API. Its methods have these things in common.

    Arguments: an argument that is None is not sent. `body=` takes the whole request body, in place
        of the arguments that are keys of it.
    Options: beside its arguments, each method takes those of `RequestOptions`:
        timeout: Seconds for the whole call, tries and waits included; None is no limit.
        connect_timeout, read_timeout: Seconds to connect, and to wait for more bytes.
        bodies: "plain" returns the body as dict, list, str, int, float, bool and None, in place of
            an instance of its schema.
        skip_deserialization: True returns the body as plain decoded JSON, not validated.
        extra_headers: Headers to send with this call alone.
        retries: A RetryPolicy, or how often to try again.
        idempotent: True lets the request be sent again though an earlier try may have arrived.
    Returns: an ApiResponse with `body`, of the type in the method's signature, `status`, `headers`
        and `round_trip_time`. With `stream=True`, where a method takes it: a Stream of such bodies.
    Raises: SchemaValidationError or ApiTypeError for bad arguments, before anything is sent;
        ApiException for a status outside 2xx, or a body that does not fit its schema;
        ApiConnectionError when no answer came. Each is an OpenApiException.
    Async variants: `await api.aget(...)` is `api.get(...)` in an event loop, and so with every
        method; its streams are AsyncStreams.
    Pages: `iterate_NAME`, where there is one, iterates over the records of all pages of `NAME`,
        with the same arguments, and fetches the next page while you work on one. It asks for
        100 records at a time, or `size` of them. It returns a
        PageIterator, whose `pages()` iterates over whole pages; `aiterate_NAME` returns an
        AsyncPageIterator. Both raise what `NAME` raises, after the records that came before.
    """

    __test__ = False  # pytest takes classes named Test* for tests

    def __init__(self, api_client: ApiClient | None = None) -> None:
        self.api_client = ApiClient() if api_client is None else api_client

    def __init_subclass__(cls) -> None:
        if Api not in cls.__bases__:  # the user's own, of a tag
            return
        methods = {name: m for name, m in vars(cls).items() if inspect.isfunction(m)}
        for name, method in methods.items():
            variant = methods.get(f"a{name}")  # which is shielded already
            if variant is not None and getattr(variant, "__wrapped__", None) is method:
                made: Any = shielded(method)
                cast(Any, variant).__wrapped__ = made
                setattr(cls, name, made)

    def _call(self, operation: Operation, arguments: Locals) -> Any:
        return self.api_client.call(operation, *_split(arguments))

    def _iterate(self, operation: Operation, arguments: Locals) -> Any:
        from humanloop.pagination import PageIterator

        iterator: PageIterator[Any] = PageIterator(**_paging(self._call, operation, arguments))
        return iterator

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.api_client!r})"


class AsyncInvoker:
    """The `self` of a tag's method that makes it asynchronous."""

    def __init__(self, api_client: ApiClient) -> None:
        self.api_client = api_client

    def _call(self, operation: Operation, arguments: Locals) -> Coroutine[Any, Any, Any]:
        return self.api_client.acall(operation, *_split(arguments))

    def _iterate(self, operation: Operation, arguments: Locals) -> Any:
        from humanloop.pagination import AsyncPageIterator

        paging = _paging(self._call, operation, arguments)
        iterator: AsyncPageIterator[Any] = AsyncPageIterator(**paging)
        return iterator


class RequestBuilder:
    """The `self` of a tag's method that makes it return its request, and send nothing."""

    def __init__(self, api_client: ApiClient) -> None:
        self.api_client = api_client

    def _call(self, operation: Operation, arguments: Locals) -> Request:
        return self.api_client.prepare(operation, *_split(arguments))

    def _iterate(self, operation: Operation, arguments: Locals) -> Request:
        paging = _paging(self._call, operation, arguments)
        page = paging["first"] if paging["page"] is None else paging["page"]
        request: Request = paging["fetch"](page, paging["size"])
        return request


@shielded
def build_request(
    api_client: ApiClient, method: Callable[Arguments, Any], *args: Any, **kwargs: Any
) -> Request:
    """Return the request that a method of a tag, or its async variant, would send.

    Raises ApiTypeError if `method` is anything else, and what the method itself raises.
    """
    if not isinstance(getattr(method, "__self__", None), Api):
        raise ApiTypeError(f"{method!r} is no method of a tag, such as client.projects.get")
    function = inspect.unwrap(getattr(method, "__func__", method))
    request: Request = function(RequestBuilder(api_client), *args, **kwargs)
    return request


def async_variant(
    method: Callable[Concatenate[Any, Arguments], Result],
) -> Callable[Concatenate[Any, Arguments], Coroutine[Any, Any, Result]]:
    """Return the async variant of a tag's method, a coroutine function with the same arguments."""

    async def call(self: Api, *args: Any, **kwargs: Any) -> Any:
        try:
            coroutine: Any = method(AsyncInvoker(self.api_client), *args, **kwargs)
            return await coroutine
        except BaseException as error:  # as `shielded` does, without a coroutine more
            del self, args, kwargs
            empty_frames(error)
            raise

    return _named_after(method, call)


def async_iteration(
    method: Callable[Concatenate[Any, Arguments], PageIterator[Record]],
) -> Callable[Concatenate[Any, Arguments], AsyncPageIterator[Record]]:
    """Return the async variant of a tag's method that iterates over pages."""

    def iterate(self: Api, *args: Any, **kwargs: Any) -> Any:
        return method(AsyncInvoker(self.api_client), *args, **kwargs)

    return _named_after(method, shielded(iterate))


def _named_after(method: Callable[..., Any], variant: Callable[..., Any]) -> Callable[..., Any]:
    """Give an async variant the signature and docstring of its method, and its name with an `a`."""
    functools.update_wrapper(variant, method)
    head, dot, name = method.__qualname__.rpartition(".")
    variant.__name__, variant.__qualname__ = f"a{name}", f"{head}{dot}a{name}"
    return variant


def _split(arguments: Locals) -> tuple[Locals, RequestOptions | None]:
    """Return the `locals()` of a method as its operation's arguments, and its options."""
    options = arguments.pop("options", None)
    del arguments["self"]
    return arguments, options


def _paging(
    call: Callable[[Operation, Locals], Any], operation: Operation, arguments: Locals
) -> dict[str, Any]:
    """Return the arguments for an iterator over pages, from the `locals()` of its method."""
    own = {name: arguments.pop(name) for name in ("page", "size", "progress")}
    schemas = {p.name: p.schema for p in operation.parameters}
    first = schemas["page"]["default"]
    if own["size"] is None:
        own["size"] = min(PAGE_SIZE, schemas["size"].get("maximum", PAGE_SIZE))
    # To read a page again changes nothing, even where the operation is a POST.
    options = {"idempotent": True, **arguments.pop("options", {})}
    # Hidden, since frames would show them, and keys among them.
    given = Secret({**arguments, "options": options})

    def fetch(page: int, size: int | None) -> Any:
        return call(operation, {**given.reveal(), "page": page, "size": size})

    return {**own, "fetch": fetch, "first": first, "description": operation.name}
