"""The memory that requests may take together, so that many large ones wait for each other.

Invariants: requests are served in the order in which they asked; one that asks for more than there
is at all gets all of it, and so runs alone. A request takes from a Memory once and gives back at
its end, so none waits for another that waits for it.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from humanloop.server.errors import Busy


class Memory:
    """A number of bytes that are free or taken; seconds: how long a request waits for its turn."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = self._free = size
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._given = asyncio.Event()

    async def take(self, size: int, until: ExitStack) -> None:
        """Wait until so many bytes are free, and take them until the stack is closed.

        Raises Busy when that takes too long.
        """
        size = min(size, self._size)
        try:
            await asyncio.wait_for(self._wait(size), self._seconds)
        except asyncio.TimeoutError:
            raise Busy("Too many large requests are under way.") from None
        until.callback(self._give_back, size)

    async def _wait(self, size: int) -> None:
        async with self._turn:
            while self._free < size:
                self._given.clear()
                await self._given.wait()
            self._free -= size

    def _give_back(self, size: int) -> None:
        self._free += size
        self._given.set()
