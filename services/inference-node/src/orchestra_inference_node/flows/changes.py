"""Telling whoever watches that something changed."""

from __future__ import annotations

import asyncio


class Changes:
    """A counter that can be waited for; nobody who waits misses a change, many changes may be seen as one."""

    def __init__(self) -> None:
        self.version = 0
        self._moved = asyncio.Event()

    def touch(self) -> None:
        self.version += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def after(self, seen: int, seconds: float | None = None) -> int:
        """The version once it is newer than `seen`, or after `seconds` whatever it is then."""
        while self.version == seen:
            try:
                async with asyncio.timeout(seconds):
                    await self._moved.wait()
            except TimeoutError:
                break
        return self.version
