"""From an engine's thread to a stream on the event loop, without growing while the stream is slow."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from orchestra_inference_node.domain.drawing import Output, Piece, Prefill


class Mailbox:
    """`put` from any thread, `get` from one task of the loop that made it.

    Pieces that wait merge into one and a newer prefill report replaces the older, so at most a few items
    wait. The loop
    is woken once per batch of puts, not once per token.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._items: deque[Output | Exception] = deque()
        self._wake_sent = False
        self._expired = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Output | Exception) -> None:
        with self._lock:
            last = self._items[-1] if self._items else None
            if isinstance(item, Piece) and isinstance(last, Piece):
                last.append(item)
            elif isinstance(item, Prefill) and isinstance(last, Prefill):
                self._items[-1] = item
            else:
                self._items.append(item)
            if self._wake_sent:
                return
            self._wake_sent = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # the loop is closed: nobody reads any more
            return

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        self._expired = True
        self._wake()

    async def get(self, idle_s: float) -> Output | Exception | None:
        """The next item; None when nothing came for `idle_s` seconds."""
        item = self._take()
        if item is not None:
            return item
        self._expired = False
        timer = self._loop.call_later(idle_s, self._expire)
        try:
            while True:
                self._waiter = self._loop.create_future()
                # what came since the last look has woken nobody; a wake may be for what was taken already
                item = self._take()
                if item is not None or self._expired:
                    return item
                await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _take(self) -> Output | Exception | None:
        with self._lock:
            self._wake_sent = False
            return self._items.popleft() if self._items else None
