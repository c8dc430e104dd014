"""A bounded queue that is emptied in one go: ready things are taken together, a slow reader slows writers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Many writers, one reader."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._abandoned = False
        self._error: BaseException | None = None

    async def put(self, item: T) -> None:
        """Wait for room."""
        while len(self._items) >= self._size and not self._abandoned:
            self._room.clear()
            await self._room.wait()
        if not self._abandoned:
            self._items.append(item)
            self._ready.set()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more comes; what is inside is still taken, then `error` is raised."""
        self._closed = True
        self._error = error
        self._ready.set()

    def abandon(self) -> None:
        """Nobody reads any more: writers no longer wait, and what they say is dropped."""
        self._abandoned = True
        self._items.clear()
        self._room.set()

    async def take(self, timeout: float | None = None) -> list[T] | None:
        """Everything that is there, at least one; empty after `timeout` seconds; None at the end."""
        if not self._items:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._ready.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                return []
            return await self.take(0) if self._items or self._closed else []
        taken = list(self._items)
        self._items.clear()
        self._room.set()
        return taken
