"""An asynchronous generator of two functions, which a cancelled step does not end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["AsyncSteps"]

T = TypeVar("T")


class AsyncSteps(AsyncGenerator[T, None]):
    """Yields what a function returns, until that raises StopAsyncIteration.

    A generator function is over when an error has passed through it. So after a step that
    `asyncio.wait_for` cancelled, the next one would look like the end of the values. Here, it calls
    `step` again, which decides what follows.

    step: returns the next value; close: called once by `aclose`, and by `athrow`.
    """

    def __init__(
        self, step: Callable[[], Awaitable[T]], close: Callable[[], Awaitable[None]]
    ) -> None:
        self._step = step
        self._close = close
        self._closed = False

    async def asend(self, value: None) -> T:
        """Return the next value."""
        if self._closed:
            raise StopAsyncIteration
        return await self._step()

    async def athrow(self, kind: Any, value: Any = None, traceback: Any = None, /) -> T:
        """Close this, and raise the error."""
        if not self._closed:
            self._closed = True
            await self._close()
        given = kind if value is None else value
        error: BaseException = given if isinstance(given, BaseException) else kind()
        raise error.with_traceback(traceback or error.__traceback__)
