"""The memory that all requests may take together, so that large ones wait for each other.

Invariants: requests are served in the order in which they asked; a request that asks for more than
the total gets the total, and so runs alone. A request takes from a Memory once and releases at its
end, so no two requests can wait for each other.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from humanloop.server.errors import Busy


class Memory:
    """A number of bytes, free or taken; seconds: how long a request waits for its turn."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = self._free = size
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._given = asyncio.Event()

    async def take(self, size: int, until: ExitStack) -> None:
        """Wait until that many bytes are free, and take them until the stack is closed.

        Raises Busy if that takes too long.
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
