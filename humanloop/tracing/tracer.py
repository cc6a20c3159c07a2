"""Tracer: the decorator `traced`, for functions, coroutine functions and both kinds of generators.

Each kind has a wrapper of the same kind, so that it is called, inspected and documented as before.
A generator runs in its span only while it computes the next item, since its caller's code runs
between two of them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from humanloop.exceptions import ApiTypeError, TracingWarning, unexpected_argument, warn
from humanloop.lazy import cached_property
from humanloop.secrets import mask_keys, one_line
from humanloop.tracing.spans import Span, Writer
from humanloop.tracing.values import LONGEST_TEXT, MOST_VALUES, as_json, as_text

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Function", "TraceOptions", "Tracer", "error_text"]

Function = TypeVar("Function", bound=Callable[..., Any])


class TraceOptions(TypedDict, total=False):
    """What `traced` takes.

    project, project_id: where the calls are logged; one of both is needed.
    name: of the function in the log; by default its own.
    config: what the calls are logged with; by default a tool of that name.
    inputs: False logs no arguments; a function gets the arguments, and returns what is logged.
    output: False logs no result; a function gets the result, and returns what is logged. Of a
        generator, the result is the list of its items, or their text if all of them are texts.
    source, metadata: as for `log`.
    """

    project: str
    project_id: str
    name: str
    config: Mapping[str, Any]
    inputs: bool | Callable[..., Mapping[str, Any]]
    output: bool | Callable[[Any], Any]
    source: str
    metadata: Mapping[str, Any]


class Tracer:
    """Logs what functions do.

    failures: how often tracing itself has failed; the functions were not affected.
    """

    def __init__(self, writer: Writer) -> None:
        self.failures = 0
        self._writer = writer

    def traced(self, **options: Unpack[TraceOptions]) -> Callable[[Function], Function]:
        """Return a decorator that logs each call of a function: see `TraceOptions`.

        Raises ApiTypeError for options or functions that can't be traced, when it decorates.
        """
        for name in options:
            if name not in TraceOptions.__annotations__:
                raise unexpected_argument("traced()", name, [*TraceOptions.__annotations__])
        if not options.get("project") and not options.get("project_id"):
            raise ApiTypeError("traced() needs project=..., where the calls are logged")

        def decorate(function: Function) -> Function:
            if not callable(function) or inspect.isclass(function):
                kind = "a class" if inspect.isclass(function) else type(function).__name__
                raise ApiTypeError(f"traced() takes a function or a method, not {kind}")
            return cast("Function", _wrapped(function, _Calls(self, function, options)))

        return decorate

    def begin(self, keys: Mapping[str, Any]) -> Span | None:
        """Begin a span; None where that fails."""
        try:
            return Span(self._writer, keys)
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """Count that tracing has failed, and warn about the first time."""
        self.failures += 1
        if self.failures == 1:
            message = (
                f"tracing failed, and the traced code went on: {error_text(error)}. Further"
                " failures are counted in client.tracer.failures, without a warning."
            )
            # Where warnings are errors, it would reach the traced code.
            with contextlib.suppress(TracingWarning):
                warn(message, TracingWarning)


def error_text(error: BaseException) -> str:
    """Return an error in one line, without keys."""
    try:
        said = one_line(mask_keys(str(error)))
    except Exception:
        said = "(its text can't be had)"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _Calls:
    """Makes the spans of one function's calls, and ends them."""

    def __init__(self, tracer: Tracer, function: Callable[..., Any], options: TraceOptions) -> None:
        self._tracer = tracer
        self._function = function
        self._inputs = options.get("inputs", True)
        self._output = options.get("output", True)
        own = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
        name = options.get("name", own)
        keys = ("config", "project", "project_id", "source", "metadata")
        given = {key: value for key, value in options.items() if key in keys}
        self._keys: dict[str, Any] = {"config": {"type": "tool", "name": name}, **given}

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Span | None:
        """Begin the span of a call; None where that fails."""
        try:
            keys = {**self._keys, "inputs": self._logged_inputs(args, kwargs)}
        except Exception as error:
            self._tracer.failed(error)
            keys = self._keys
        return self._tracer.begin(keys)

    def succeed(self, span: Span | None, result: Any) -> None:
        """End a span with what the function has returned."""
        if span is not None:
            self._end(span, result, None)

    def fail(self, span: Span | None, error: BaseException, result: Any = None) -> None:
        """End a span with what the function has raised, and what it yielded before."""
        if span is not None:
            self._end(span, result, error_text(error))

    def _end(self, span: Span, result: Any, error: str | None) -> None:
        text: str | None = None
        try:
            text = self._logged_output(result)
        except Exception as failure:
            self._tracer.failed(failure)
        try:
            span.end(output=text, error=error)
        except Exception as failure:
            self._tracer.failed(failure)

    def _logged_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        if callable(self._inputs):
            return cast("Mapping[str, Any]", as_json(self._inputs(*args, **kwargs)))
        if not self._inputs:
            return {}
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        first = next(iter(given), None)
        if first in {"self", "cls"}:
            del given[first]
        return cast("Mapping[str, Any]", as_json(given))

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self._function)

    def _logged_output(self, result: Any) -> str | None:
        if callable(self._output):
            result = self._output(result.value if isinstance(result, _Items) else result)
        elif not self._output:
            return None
        return as_text(result.value if isinstance(result, _Items) else result)


class _Items:
    """What a generator has yielded, as far as it is logged."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._length = 0

    def add(self, item: Any) -> None:
        self._length += len(item) if isinstance(item, str) else 1
        if len(self._items) < MOST_VALUES and self._length <= LONGEST_TEXT:
            self._items.append(item)

    @property
    def value(self) -> Any:
        """The items, or their text if all of them are texts."""
        if self._items and all(isinstance(item, str) for item in self._items):
            return "".join(self._items)
        return self._items


def _wrapped(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return _asynchronous_generator(function, calls)
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, calls)
    if inspect.isgeneratorfunction(function):
        return _generator(function, calls)
    return _plain(function, calls)


def _plain(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        span = calls.begin(args, kwargs)
        try:
            result = _within(span, function, *args, **kwargs)
        except BaseException as error:
            calls.fail(span, error)
            raise
        calls.succeed(span, result)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        span = calls.begin(args, kwargs)
        try:
            result = await _awaited_within(span, function(*args, **kwargs))
        except BaseException as error:
            calls.fail(span, error)
            raise
        calls.succeed(span, result)
        return result

    return wrapper


def _generator(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        span, items = calls.begin(args, kwargs), _Items()
        steps = function(*args, **kwargs)
        try:
            item = _within(span, next, steps)
            while True:
                items.add(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    _within(span, steps.close)
                    raise
                except BaseException as error:
                    item = _within(span, steps.throw, error)
                else:
                    item = _within(span, steps.send, sent)
        except StopIteration as end:
            calls.succeed(span, items)
            return end.value
        except GeneratorExit:  # its caller has had enough
            calls.succeed(span, items)
            raise
        except BaseException as error:
            calls.fail(span, error, items)
            raise

    return wrapper


def _asynchronous_generator(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        span, items = calls.begin(args, kwargs), _Items()
        steps = function(*args, **kwargs)
        try:
            item = await _awaited_within(span, steps.__anext__())
            while True:
                items.add(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await _awaited_within(span, steps.aclose())
                    raise
                except BaseException as error:
                    item = await _awaited_within(span, steps.athrow(error))
                else:
                    item = await _awaited_within(span, steps.asend(sent))
        except (StopAsyncIteration, GeneratorExit) as end:
            calls.succeed(span, items)
            if isinstance(end, GeneratorExit):
                raise
        except BaseException as error:
            calls.fail(span, error, items)
            raise

    return wrapper


def _within(span: Span | None, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if span is None:
        return call(*args, **kwargs)
    before = span.enter()
    try:
        return call(*args, **kwargs)
    finally:
        span.leave(before)


async def _awaited_within(span: Span | None, awaited: Awaitable[Any]) -> Any:
    if span is None:
        return await awaited
    before = span.enter()
    try:
        return await awaited
    finally:
        span.leave(before)
