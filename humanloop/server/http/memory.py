"""The memory that requests may take together, so that many large ones wait for each other.

Invariants: requests are served in the order in which they asked; one that asks for more than there
is at all gets all of it, and so runs alone. A request takes from a Memory once and gives back at
its end, so none waits for another that waits for it.
"""

from __future__ import annotations

import asyncio

from humanloop.server.errors import Busy


class Memory:
    """A number of bytes that are free or taken; seconds: how long a request waits for its turn."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = self._free = size
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._given = asyncio.Event()

    async def take(self, size: int) -> int:
        """Wait until so many bytes are free, and take them; return how many to give back.

        Raises Busy when that takes too long.
        """
        size = min(size, self._size)
        try:
            await asyncio.wait_for(self._wait(size), self._seconds)
        except asyncio.TimeoutError:
            raise Busy("Too many large requests are under way.") from None
        return size

    async def _wait(self, size: int) -> None:
        async with self._turn:
            while self._free < size:
                self._given.clear()
                await self._given.wait()
            self._free -= size

    def give_back(self, size: int) -> None:
        """Free what was taken."""
        self._free += size
        self._given.set()


class Share:
    """What one request has taken of a Memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._size = 0

    async def take(self, size: int) -> None:
        """Take the bytes, unless some were taken before; see Memory.take."""
        if not self._size:
            self._size = await self._memory.take(size)

    def give_back(self) -> None:
        """Free all that was taken."""
        self._memory.give_back(self._size)
        self._size = 0
