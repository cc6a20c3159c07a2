"""Tracer: the decorator `traced`, for functions, coroutine functions and both kinds of generators.

Each kind has a wrapper of the same kind, so that it is called, inspected and documented as before.
A generator is in its span only while it computes the next item, since its caller's code runs
between two items.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

from humanloop.exceptions import ApiTypeError, TracingWarning, unexpected_argument, warn
from humanloop.lazy import cached_property
from humanloop.model.log_request import LogRequest
from humanloop.secrets import mask_keys, one_line, shorten
from humanloop.tracing.spans import Span, Writer
from humanloop.tracing.values import Copy, as_json, as_text

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ["Function", "TraceOptions", "Tracer", "error_text"]

_LONGEST_ERROR = 10_000  # characters
_MOST_ITEMS = 10_000  # of a generator, for a function that makes its output

Function = TypeVar("Function", bound=Callable[..., Any])


class TraceOptions(TypedDict, total=False):
    """The options of `traced`.

    project, project_id: where the calls are logged; one of both is needed.
    name: of the function in the log; by default its own.
    config: the config of the logs; by default a tool of that name.
    inputs: False logs no arguments; a function gets the arguments, and returns the inputs to log.
    output: False logs no result; a function gets the result, and returns the output to log. The
        result of a generator is the list of its items, or one text if all of them are texts.
    source, metadata: the same as for `log`.
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
    """Logs the calls of functions.

    failures: the number of errors of tracing itself, which did not affect the functions.
    """

    def __init__(self, writer: Writer) -> None:
        self.failures = 0
        self.writer = writer

    def traced(self, **options: Unpack[TraceOptions]) -> Callable[[Function], Function]:
        """Return a decorator that logs each call of a function: see `TraceOptions`.

        Raises, when it decorates: ApiTypeError for options or functions that can't be traced,
        SchemaValidationError for options that can't be logged.
        """
        for name in options:
            if name not in TraceOptions.__annotations__:
                raise unexpected_argument("traced()", name, [*TraceOptions.__annotations__])
        if not options.get("project") and not options.get("project_id"):
            raise ApiTypeError("traced() needs project=..., where the calls are logged")

        # A function that calls itself would be a cycle, which keeps the spool.
        return functools.partial(self._decorated, options)

    def _decorated(self, options: TraceOptions, function: Any) -> Any:
        if isinstance(function, (staticmethod, classmethod)):
            method = cast("Any", function)
            return type(method)(self._decorated(options, method.__func__))
        if not callable(function) or inspect.isclass(function):
            what = "a class" if inspect.isclass(function) else type(function).__name__
            raise ApiTypeError(f"traced() takes a function or a method, not {what}")
        return _wrapped(function, _Calls(self, function, options))

    def begin(self, keys: Mapping[str, Any]) -> Span | None:
        """Begin a span, and return it; None if that fails."""
        try:
            return Span(self.writer, keys, self.failed)
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        """Count an error of tracing, and warn of the first one."""
        self.failures += 1
        if self.failures == 1:
            # A warning may raise, if warnings are errors, or if the hook that shows them fails.
            with contextlib.suppress(Exception):
                warn(
                    f"tracing failed, and the traced code went on: {error_text(error)}. Further"
                    " failures are counted in client.tracer.failures, without a warning.",
                    TracingWarning,
                )


def error_text(error: BaseException) -> str:
    """Return an error in one line, without keys."""
    try:
        said = shorten(one_line(mask_keys(str(error))), _LONGEST_ERROR)
    except Exception:
        said = "(its text can't be read)"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _Calls:
    """Logs the calls of one function."""

    def __init__(self, tracer: Tracer, function: Callable[..., Any], options: TraceOptions) -> None:
        self.failed = tracer.failed
        self.output = options.get("output", True)
        self._tracer = tracer
        self._function = function
        self._inputs = options.get("inputs", True)
        own = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
        name = options.get("name", own)
        keys = ("config", "project", "project_id", "source", "metadata")
        given = {key: value for key, value in options.items() if key in keys}
        self._keys: dict[str, Any] = {"config": {"type": "tool", "name": name}, **given}
        LogRequest(self._keys)  # raise a mistake now, in place of counting it in each call

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        """Begin a call."""
        keys: Mapping[str, Any] = self._keys
        try:
            keys = {**keys, "inputs": self._logged_inputs(args, kwargs)}
        except Exception as error:
            self.failed(error)
        return _Call(self, self._tracer.begin(keys))

    def _logged_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._inputs:
            return {}
        made = (
            self._inputs(*args, **kwargs) if callable(self._inputs) else self._named(args, kwargs)
        )
        copied = as_json(made, self.failed)
        if not isinstance(copied, dict):
            raise ApiTypeError(
                f"the function of inputs= must return a mapping, not {type(made).__name__}"
            )
        return cast("dict[str, Any]", copied)

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if self._signature is not None:
            with contextlib.suppress(TypeError):  # the function itself will raise it
                bound = self._signature.bind(*args, **kwargs)
                bound.apply_defaults()
                given = dict(bound.arguments)
                first = next(iter(given), None)
                if first in {"self", "cls"}:
                    del given[first]
                return given
        return {"args": args, "kwargs": kwargs}

    @cached_property
    def _signature(self) -> inspect.Signature | None:
        try:
            return inspect.signature(self._function)
        except (TypeError, ValueError):  # some builtin functions have none
            return None


class _Call:
    """One call; each part of its code runs in a `with` block of it. span: None if that failed."""

    __slots__ = ("_calls", "_copy", "_items", "_span", "_texts")

    def __init__(self, calls: _Calls, span: Span | None) -> None:
        self._calls = calls
        self._span = span
        self._copy: Copy | None = None
        self._items: list[Any] = []
        self._texts = True  # all of the items are texts

    def __enter__(self) -> Self:
        try:
            if self._span is not None:
                self._span.__enter__()
        except Exception as failure:
            self._span = None
            self._calls.failed(failure)
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self._span is not None:
                self._span.__exit__(*exc_info)
        except Exception as failure:
            self._calls.failed(failure)

    def yielded(self, item: Any) -> None:
        """Keep a copy of a generator's item."""
        try:
            if self._span is not None and self._calls.output:
                self._keep(item, self._calls.output)
        except Exception as failure:
            self._calls.failed(failure)

    def _keep(self, item: Any, output: Any) -> None:
        self._texts = self._texts and isinstance(item, str)
        if callable(output):
            if len(self._items) < _MOST_ITEMS:
                self._items.append(item)
            return
        if self._copy is None:
            self._copy = Copy(self._calls.failed)
        if not self._copy.is_full:
            self._items.append(self._copy.of(item))

    @property
    def items(self) -> Any:
        """The items of a generator: a list, or one text if all of them are texts."""
        return "".join(self._items) if self._items and self._texts else self._items

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """End the call with the returned value or the yielded items, and with the raised error."""
        if self._span is None:
            return
        failed, output, text = self._calls.failed, self._calls.output, None
        try:
            if output and (result is not None or error is None):
                made = output(result) if callable(output) else result
                text = as_text(as_json(made, failed))
        except Exception as failure:
            failed(failure)
        try:
            self._span.end(output=text, error=None if error is None else error_text(error))
        except Exception as failure:
            failed(failure)


def _wrapped(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    def is_kind(tell: Callable[[Any], bool]) -> bool:
        # The kind of a callable object is that of its `__call__`.
        return tell(function) or tell(type(function).__call__)

    if is_kind(inspect.isasyncgenfunction):
        return _asynchronous_generator(function, calls)
    if is_kind(inspect.iscoroutinefunction):
        return _coroutine(function, calls)
    if is_kind(inspect.isgeneratorfunction):
        return _generator(function, calls)
    return _plain(function, calls)


def _plain(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = calls.begin(args, kwargs)
        try:
            with call:
                result = function(*args, **kwargs)
        except BaseException as error:
            call.end(error=error)
            raise
        call.end(result)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        call = calls.begin(args, kwargs)
        try:
            with call:
                result = await function(*args, **kwargs)
        except BaseException as error:
            call.end(error=error)
            raise
        call.end(result)
        return result

    return wrapper


def _generator(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = calls.begin(args, kwargs)
        try:
            with call:
                steps = function(*args, **kwargs)
                item = next(steps)
            while True:
                call.yielded(item)
                sent = thrown = None
                try:
                    sent = yield item
                except BaseException as error:  # GeneratorExit as well: it may be caught
                    thrown = error  # not thrown here: it would become the context of other errors
                with call:
                    item = steps.send(sent) if thrown is None else steps.throw(thrown)
        except StopIteration as end:
            call.end(call.items)
            return end.value
        except GeneratorExit:  # its caller has closed it early
            call.end(call.items)
            raise
        except BaseException as error:
            call.end(call.items, error)
            raise
        finally:
            thrown = None  # its traceback holds this frame

    return wrapper


def _asynchronous_generator(function: Callable[..., Any], calls: _Calls) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = calls.begin(args, kwargs)
        try:
            with call:
                steps = function(*args, **kwargs)
                item = await _first(steps)
            while True:
                call.yielded(item)
                sent = thrown = None
                try:
                    sent = yield item
                except BaseException as error:  # GeneratorExit as well: it may be caught
                    thrown = error  # not thrown here: it would become the context of other errors
                with call:
                    item = await (steps.asend(sent) if thrown is None else steps.athrow(thrown))
        except (StopAsyncIteration, GeneratorExit) as end:
            call.end(call.items)
            if isinstance(end, GeneratorExit):
                raise
        except BaseException as error:
            call.end(call.items, error)
            raise
        finally:
            thrown = None  # its traceback holds this frame

    return wrapper


def _first(steps: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Ask for the first item, and hide the generator from the event loop.

    A loop that ends closes all generators that it knows. The wrapper closes this one, and closing
    it twice at the same time fails.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return steps.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)
