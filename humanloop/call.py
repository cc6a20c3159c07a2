"""One call as a flow of steps, its retry state, and the two drivers that do the steps.

`call_steps` is a generator and does no I/O: it yields what to do next (send the request, wait, call
a hook), gets the outcome back, and decides whether to try again. `run` does the steps for
synchronous calls and `run_async` in an event loop; all else is the same for both.

Invariants: no request is sent twice that is not safe to repeat; all tries and the waits between
them take no longer than the call may; a status outside 2xx raises; and a stream that nobody gets is
closed.
"""

from __future__ import annotations

import errno
import inspect
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiProxyError,
    ApiResponseTooLargeError,
    ApiTimeoutError,
    ApiTlsError,
    ApiTypeError,
    ClientClosedError,
    ClientConfigurationError,
)
from humanloop.http import Headers, RawResponse, Request
from humanloop.operation import RETRY_HEADER
from humanloop.responses import ResponseReader, StreamOpened
from humanloop.retries import Decision, Fault, RetryPolicy, after_fault, after_response
from humanloop.secrets import MASK, linked_errors, redact, redact_error

if TYPE_CHECKING:
    from humanloop.configuration import Configuration, EventHooks
    from humanloop.transport.base import AsyncRawStream, AsyncTransport, RawStream, Transport
    from humanloop.wire_log import WireLog

__all__ = ["KeyRenewal", "RetryState", "call_steps", "refuse_coroutines", "run", "run_async"]

_TICK = 0.005  # seconds by which two clocks may differ

_LONGEST = 1_000_000.0
"""Seconds of one sleep at most: beyond some value, which differs by system, it is an error."""

_GRACE = 0.5
"""Seconds for hooks that are told of an error, at least: most often, the time is over by then."""

ErrorType = TypeVar("ErrorType", bound="ApiConnectionError | ApiException")


class Send(NamedTuple):
    """A step of a call: send the request; its outcome is the answer."""

    request: Request


class Wait(NamedTuple):
    """A step of a call: let the time pass."""

    seconds: float


class CallHook(NamedTuple):
    """A step of a call: call a hook; its outcome is what the hook returns.

    end: when it must be over, by `time.monotonic()`; None: no limit. A driver that can interrupt a
    hook does so, and raises TimeoutError.
    """

    hook: Callable[..., Any]
    arguments: tuple[Any, ...]
    end: float | None


Step = Send | Wait | CallHook


class KeyRenewal:
    """The hook that may change the keys before each try, and the request that follows from them."""

    def __init__(self, configuration: Configuration, prepare: Callable[[], Request]) -> None:
        assert configuration.refresh_api_key_hook is not None
        self.hook = configuration.refresh_api_key_hook
        self.configuration = configuration
        self._prepare = prepare
        self._credentials = configuration.credentials()

    def renewed(self, request: Request) -> Request:
        """Return the request of the last try, or a new one if the keys have changed since."""
        credentials = self.configuration.credentials()
        if credentials == self._credentials:
            return request
        self._credentials = credentials
        return self._prepare()


class RetryState:
    """The tries of a call so far, the time that it has left, and the decision on another try.

    timeout: seconds for all tries together, None: no limit; repeatable: doing the request twice has
    the effect of doing it once; named: a `reference_id` would make it so. `end` is when the call
    must be over, by `time.monotonic()`.
    """

    def __init__(
        self,
        timeout: float | None,
        policy: RetryPolicy,
        *,
        repeatable: bool,
        named: bool = False,
    ) -> None:
        self.tries = 0
        self.timeout = timeout
        self._began = time.monotonic()
        self.end = None if timeout is None else self._began + timeout
        self._policy = policy
        self._repeatable = repeatable
        self._named = named

    def next_request(self, request: Request) -> Request:
        """Count a try; return the request to send, with its number and the time that is left."""
        self.tries += 1
        if self.tries == 1:
            return request
        headers = Headers(request.headers)
        headers[RETRY_HEADER] = str(self.tries - 1)
        return self.limit(replace(request, headers=headers))

    def limit(self, request: Request) -> Request:
        """Return the request with as much time as is left, unless it has less."""
        if self.end is None:
            return request
        left = max(self.end - time.monotonic(), 0.001)
        return replace(request, timeout=min(left, request.timeout or left))

    def is_over(self) -> bool:
        """Return whether no time is left."""
        return self.end is not None and time.monotonic() >= self.end

    def call_hook(
        self,
        hook: Callable[..., Any],
        *arguments: Any,
        grace: float = 0.0,
        given: tuple[Any, ...] | None = None,
    ) -> Generator[Step, Any, Any]:
        """Yield the step that calls a hook; return what that returns.

        arguments: the request, and what became of it; given: what the hook gets, if not these;
        grace: the seconds that it has at least. Raises ApiTimeoutError when it is interrupted, and
        when it was not but took longer before the request: then that is not sent any more.
        """
        end = self.end and max(self.end, time.monotonic() + grace)
        try:
            outcome = yield CallHook(hook, arguments if given is None else given, end)
        except TimeoutError as error:
            if end is None or time.monotonic() < end - _TICK:
                raise  # of its own
            raise self._late_hook(hook, *arguments) from error
        if len(arguments) == 1 and self.is_over():
            raise self._late_hook(hook, *arguments)
        return outcome

    def _late_hook(
        self, hook: Callable[..., Any], request: Request, *outcome: Any
    ) -> ApiTimeoutError:
        late = f"no complete answer within {self.timeout:.3g} seconds"
        name = getattr(hook, "__qualname__", type(hook).__qualname__)
        error = ApiTimeoutError(
            f"{late} (while in the event hook {name})",
            method=request.method,
            host=request.host,
            path=redact(request.path, request.secrets()),
            sent=bool(outcome),
        )
        return self.describe(error)

    def describe(self, error: ErrorType) -> ErrorType:
        """Write into `error` how many tries it took, and how long."""
        now = time.monotonic()
        late = isinstance(error, ApiTimeoutError) and not isinstance(error, ApiException)
        if late and self.tries > 1 and self.end is not None and now >= self.end - _TICK:
            # The last try had only what was left of it.
            _, bracket, doing = (error.reason or "").partition(" (while ")
            error.reason = f"no complete answer within {self.timeout:.3g} seconds{bracket}{doing}"
        error.tries = self.tries
        error.elapsed = now - self._began
        error.hint = self._hint(error)
        return error

    def _hint(self, error: ApiConnectionError | ApiException) -> str:
        if error.status == 407:  # RFC 9110 section 15.5.8
            return (
                "A proxy answered, not the server: it requires credentials. Check those of the"
                " setting `proxy`, or of the variable HTTP_PROXY in the environment."
            )
        if not isinstance(error, ApiConnectionError) or isinstance(error, ApiException):
            return ""
        if not error.sent:
            refused = _is_refused(error) and _is_loopback(error.host or "")
            return "To start a server there: humanloop serve" if refused else ""
        if self._repeatable or isinstance(error, (ApiResponseTooLargeError, ClientClosedError)):
            return ""
        name = "with a reference_id, or " if self._named else ""
        return (
            "The server may have processed the request, so it was not retried. A call is safe to"
            f" repeat {name}with idempotent=True, if doing it twice does no harm."
        )

    def wait_after_fault(self, error: ApiConnectionError) -> float | None:
        """Return the seconds to wait before the next try; None: there is none."""
        if isinstance(error, (ApiTlsError, ApiResponseTooLargeError, ClientClosedError)):
            return None  # it would happen again
        if isinstance(error, ApiProxyError) and not 500 <= error.proxy_status <= 599:
            return None
        fault: Fault = "broken" if error.sent else "connect"
        if isinstance(error, ApiTimeoutError):
            fault = "timeout"
        decision = after_fault(
            self._policy, fault, attempt=self.tries, repeatable=self._repeatable, sent=error.sent
        )
        return self._in_time(decision).wait

    def wait_after_response(self, answer: RawResponse | RawStream | AsyncRawStream) -> Decision:
        """Decide as `wait_after_fault`; the reason says, where needed, why there is no next try."""
        decision = after_response(
            self._policy,
            answer.status,
            answer.headers,
            attempt=self.tries,
            repeatable=self._repeatable,
            now=time.time(),
        )
        return self._in_time(decision)

    def _in_time(self, decision: Decision) -> Decision:
        if decision.wait is None or self.end is None:
            return decision
        left = self.end - time.monotonic()
        if decision.wait < left:
            return decision
        return Decision(
            None,
            f"the next try would come in {decision.wait:.3g} s,"
            f" and the call may take {left:.3g} s more",
        )


def _is_refused(error: BaseException) -> bool:
    """Return whether nobody listens, by the errors that one was raised from."""
    errors = linked_errors(error, lambda e: [e.__cause__, *e.args])
    return any(getattr(inner, "errno", None) == errno.ECONNREFUSED for inner in errors)


def _is_loopback(host: str) -> bool:
    """Return whether a base URL leads to the same machine (RFC 1122 3.2.1.3, RFC 6761 6.3)."""
    name = urlsplit(host).hostname or ""
    return name == "::1" or name.startswith("127.") or name.rpartition(".")[2] == "localhost"


def call_steps(
    request: Request,
    state: RetryState,
    hooks: EventHooks,
    log: WireLog,
    reader: ResponseReader,
    renewal: KeyRenewal | None = None,
) -> Generator[Step, Any, Any]:
    """Yield the steps of one call; return its result, an ApiResponse or a StreamOpened."""
    while True:
        if renewal is not None:
            yield from state.call_hook(renewal.hook, request, given=(renewal.configuration,))
            request = renewal.renewed(request)
        sent = state.next_request(request)
        for hook in hooks.get("request", ()):
            sent = state.limit(_replaced(sent, (yield from state.call_hook(hook, sent))))
        log.request(sent, state.tries)
        try:
            answer = yield Send(sent)
        except ApiConnectionError as error:
            redact_error(state.describe(error), reader.redactor(sent))
            log.fault(sent, error)
            for hook in hooks.get("error", ()):
                yield from state.call_hook(hook, sent, error, grace=_GRACE)
            seconds = state.wait_after_fault(error)
            if seconds is None:
                raise
        else:
            log.response(sent, answer)
            try:
                for hook in hooks.get("response", ()):
                    yield from state.call_hook(hook, sent, answer)
            except BaseException:
                if not isinstance(answer, RawResponse):
                    answer.close()
                raise
            if 200 <= answer.status <= 299:
                try:
                    if request.stream:
                        return reader.open_stream(
                            sent, answer, state.timeout, state.end, state.describe
                        )
                    return reader.read(sent, answer)
                except ApiException as error:
                    state.describe(error)
                    raise
            seconds, reason = state.wait_after_response(answer)
            if seconds is None:
                raise state.describe(reader.status_error(sent, answer, reason))
        log.wait(sent, seconds)
        yield Wait(seconds)


def _replaced(request: Request, returned: Any) -> Request:
    """Return the request to send after a hook has returned something."""
    if returned is None:
        return request
    if not isinstance(returned, Request):
        raise ApiTypeError(
            'an event hook for "request" must return a Request or None,'
            f" not {type(returned).__name__}"
        )
    given = cast("Mapping[str, str]", returned.headers)  # a dict, if the hook is not type-checked
    headers = given if isinstance(given, Headers) else Headers(given)
    masked = [n for n, v in headers.reveal().items() if v == MASK and n in request.headers]
    if masked:  # a hook that iterates over the items gets masks, and hands them on
        headers = Headers(headers)
        for name in masked:
            headers.set_secret(name, request.headers[name])
    return returned if headers is given else replace(returned, headers=headers)


# -- the drivers ----------------------------------------------------------------------------------


def run(steps: Generator[Step, Any, Any], transport: Transport) -> Any:
    """Do the steps of a call one after another; return its result, or a Stream."""
    try:
        step = next(steps)
        while True:
            try:
                outcome = _do(step, transport)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(outcome)
    except StopIteration as end:
        result = end.value
    if isinstance(result, StreamOpened):
        from humanloop.streaming import Stream

        return Stream(result.response, result.reader)
    return result


def _do(step: Step, transport: Transport) -> Any:
    if isinstance(step, Send):
        return transport.send(step.request)
    if isinstance(step, Wait):
        time.sleep(min(step.seconds, _LONGEST))
        return None
    outcome = step.hook(*step.arguments)
    if inspect.isawaitable(outcome):
        if isinstance(outcome, Coroutine):
            outcome.close()  # it would warn that nobody waited for it
        raise _needs_async(step.hook)
    return outcome


def refuse_coroutines(hooks: Iterable[Callable[..., Any]]) -> None:
    """Raise ApiTypeError for hooks that are coroutine functions, before a synchronous call."""
    for hook in hooks:
        call: object = getattr(type(hook), "__call__", None)  # noqa: B004 - of an object that is one
        if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(call):
            raise _needs_async(hook)


def _needs_async(hook: Callable[..., Any]) -> ApiTypeError:
    name = getattr(hook, "__qualname__", type(hook).__name__)
    return ApiTypeError(
        f"the hook {name}() is a coroutine function, which needs asynchronous calls, such as"
        " `await client.alog(...)`"
    )


async def run_async(steps: Generator[Step, Any, Any], transport: AsyncTransport) -> Any:
    """Do the steps of a call in an event loop; return its result, or an AsyncStream."""
    _check_loop()
    try:
        step = next(steps)
        try:
            while True:
                try:
                    outcome = await _do_async(step, transport)
                except Exception as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        finally:
            del step  # it may hold the error, whose traceback holds this frame
    except StopIteration as end:
        result = end.value
    if isinstance(result, StreamOpened):
        from humanloop.streaming import AsyncStream

        return AsyncStream(result.response, result.reader)
    return result


def _check_loop() -> None:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ClientConfigurationError(
            "asynchronous calls need asyncio, and no event loop of it is running. Use"
            " asyncio.run(), or anyio with its backend asyncio; from trio, make synchronous calls"
            " in a thread, as in trio.to_thread.run_sync(client.projects.list)"
        ) from None


async def _do_async(step: Step, transport: AsyncTransport) -> Any:
    if isinstance(step, Send):
        return await transport.send(step.request)
    if isinstance(step, Wait):
        from asyncio import sleep  # its import takes longer than all else here

        await sleep(step.seconds)
        return None
    outcome = step.hook(*step.arguments)
    return await _in_time(outcome, step.end) if inspect.isawaitable(outcome) else outcome


async def _in_time(outcome: Awaitable[Any], end: float | None) -> Any:
    """Wait for an outcome; raise TimeoutError when it does not come in time."""
    if end is None:
        return await outcome
    import asyncio

    seconds = end - time.monotonic()
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(seconds):  # in this task, as without a limit
            return await outcome
    try:
        return await asyncio.wait_for(outcome, seconds)
    except asyncio.TimeoutError as error:
        if time.monotonic() < end - _TICK:
            raise  # of its own
        raise TimeoutError from error
