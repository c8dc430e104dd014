"""A clock that a test turns by hand, and on which it can wait without waiting."""

from __future__ import annotations

import asyncio
import heapq
import itertools


class FakeClock:
    """Call it for the time in seconds; `sleep` on it; `advance` it.

    `advance` wakes sleepers in the order of their times, each seeing its own time, and lets them run between.
    """

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Until the clock has been advanced by `seconds`. Gives up when its task is cancelled."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds` and wake who is due."""
        until = self._now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self._now = until

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not future.done() for _, _, future in self._sleepers)

    @staticmethod
    async def settle(turns: int = 20) -> None:
        """Let every task that can run do so."""
        for _ in range(turns):
            await asyncio.sleep(0)
