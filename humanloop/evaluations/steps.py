"""Flows of several calls, written once for threads and for event loops.

A flow is a generator: it yields what is to be done and gets the outcome, or its error thrown in.
`run` does the steps with threads, `run_async` in the running event loop. Invariants: a flow that
is left is closed, so that its `with` blocks end; after the first error of an `Each` no other flow
of it begins; neither leaves a thread or a task behind.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from humanloop.operation import Operation

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from typing_extensions import Self

    from humanloop.api_client import ApiClient, RequestOptions

T = TypeVar("T")
PLAIN: RequestOptions = {"bodies": "plain"}


@dataclass(frozen=True)
class Call:
    """Call an operation; the outcome is its ApiResponse."""

    operation: Operation
    arguments: Mapping[str, Any]
    options: RequestOptions | None = None


@dataclass(frozen=True)
class Pause:
    """Do nothing for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Invoke:
    """Call a plain or a coroutine function of the user's; the outcome is what it returns."""

    function: Callable[..., Any]
    arguments: Sequence[Any]
    keywords: Mapping[str, Any] = field(default_factory=lambda: {})


@dataclass(frozen=True)
class Each:
    """Run flows, some of them at a time; the outcome is the list of their results.

    advance: called after each with how many are done.
    """

    flows: Sequence[Flow[Any]]
    workers: int
    advance: Callable[[int], object]


Step: TypeAlias = "Call | Pause | Invoke | Each"
Flow: TypeAlias = Generator[Step, Any, T]


def run(flow: Flow[T], api_client: ApiClient) -> T:
    """Run a flow in this thread, and the flows of an `Each` in threads of their own."""
    with _Threads(api_client) as threads:
        return threads.run(flow)


async def run_async(flow: Flow[T], api_client: ApiClient) -> T:
    """Run a flow in the running event loop; plain functions of the user's run in threads."""
    return await _Tasks(api_client).run(flow)


class _Threads:
    """Do the steps of flows by waiting for each; used by several threads at the same time."""

    def __init__(self, api_client: ApiClient) -> None:
        self._api_client = api_client
        self._lock = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None

    def run(self, flow: Flow[T]) -> T:
        """Run one flow to its end."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._do(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)

    def _do(self, step: Step) -> Any:
        if isinstance(step, Call):
            return self._api_client.call(step.operation, step.arguments, step.options)
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Invoke):
            result = step.function(*step.arguments, **step.keywords)
            return self._awaited(result) if inspect.isawaitable(result) else result
        return self._each(step)

    def _each(self, step: Each) -> list[Any]:
        pool = ThreadPoolExecutor(step.workers, "humanloop-evaluation")
        failed = threading.Event()  # set by the failing thread: this one may wake up too late

        def work(flow: Flow[Any]) -> Any:
            if failed.is_set():
                return None
            try:
                return self.run(flow)
            except BaseException:
                failed.set()
                raise

        try:
            # The context is the caller's, so that what it holds (a trace, say) goes on.
            futures = [pool.submit(copy_context().run, work, flow) for flow in step.flows]
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                step.advance(done)
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)

    def _awaited(self, result: Any) -> Any:
        """Wait for an awaitable in one event loop for all threads, whose clients it may share."""
        import asyncio  # its import takes longer than all else here

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop_thread = threading.Thread(
                    target=self._loop.run_forever, name="humanloop-evaluation-loop", daemon=True
                )
                self._loop_thread.start()
        return asyncio.run_coroutine_threadsafe(_await(result), self._loop).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._loop is not None and self._loop_thread is not None:
            import asyncio

            # Streams and connections that the user's coroutines opened end with their loop.
            closing = asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop)
            with suppress(Exception):
                closing.result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join()
            self._loop.close()


async def _await(result: Any) -> Any:
    return await result


async def _end_tasks() -> None:
    import asyncio

    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


class _Tasks:
    """Do the steps of flows in an event loop."""

    def __init__(self, api_client: ApiClient) -> None:
        self._api_client = api_client

    async def run(self, flow: Flow[T]) -> T:
        """Run one flow to its end."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._do(step)
                except BaseException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)

    async def _do(self, step: Step) -> Any:
        import asyncio

        if isinstance(step, Call):
            return await self._api_client.acall(step.operation, step.arguments, step.options)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Invoke):
            return await self._invoke(step)
        return await self._each(step)

    async def _invoke(self, step: Invoke) -> Any:
        import asyncio

        if is_async(step.function):
            return await step.function(*step.arguments, **step.keywords)
        result = await asyncio.to_thread(step.function, *step.arguments, **step.keywords)
        return await result if inspect.isawaitable(result) else result

    async def _each(self, step: Each) -> list[Any]:
        import asyncio

        results: list[Any] = [None] * len(step.flows)
        left = iter(enumerate(step.flows))
        done = 0

        async def work() -> None:
            nonlocal done
            for index, flow in left:
                results[index] = await self.run(flow)
                done += 1
                step.advance(done)

        tasks = [asyncio.create_task(work()) for _ in range(min(step.workers, len(step.flows)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return results


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call of it returns a coroutine."""
    call = getattr(function, "__call__", None)  # noqa: B004  of an object of a class of one's own
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
