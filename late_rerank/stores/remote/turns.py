"""A bound on what runs at once on an event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Lets so many requests run at once; the others wait in the order in which they came. Used on one event loop alone.

    Args:
        most: Requests at once.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, n: int) -> AsyncIterator[None]:
        """Wait for the turn of `n` requests, and give it back at the end."""
        n = min(n, self._most)
        await self._take(n)
        try:
            yield
        finally:
            self._give(n)

    async def _take(self, n: int) -> None:
        if not self._waiting and self._free >= n:
            self._free -= n
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((n, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(n)
            raise

    def _give(self, n: int) -> None:
        self._free += n
        while self._waiting and self._free >= self._waiting[0][0]:
            n, turn = self._waiting.popleft()
            if not turn.done():  # else its caller gave up
                self._free -= n
                turn.set_result(None)
