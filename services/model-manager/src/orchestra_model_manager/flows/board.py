"""The board of placements that routers watch: whole, versioned, and known to have been sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from orchestra.models.v1 import model_pb2


@dataclass(frozen=True, slots=True)
class Posted:
    """One version of the board."""

    version: int
    phase: str
    placements: tuple[model_pb2.Placement, ...]


class Board:
    """`post` publishes when something changed; watchers get the newest version, never a stale one."""

    def __init__(self, repeat_s: float = 10.0) -> None:
        self._repeat_s = repeat_s
        self._posted = Posted(0, "", ())
        self._news: set[asyncio.Event] = set()
        self._sent: dict[asyncio.Event, int] = {}
        self._sent_changed = asyncio.Event()

    @property
    def now(self) -> Posted:
        return self._posted

    def post(self, phase: str, placements: Sequence[model_pb2.Placement]) -> int:
        """Publish if it differs from what is posted; the version that holds it."""
        new = tuple(placements)
        if (phase, new) != (self._posted.phase, self._posted.placements):
            self._posted = Posted(self._posted.version + 1, phase, new)
            for news in self._news:
                news.set()
        return self._posted.version

    async def watch(self) -> AsyncIterator[Posted]:
        """The board at once, again on every change, and at least every `repeat_s` seconds."""
        news = asyncio.Event()
        self._news.add(news)
        self._sent[news] = -1
        try:
            while True:
                news.clear()
                posted = self._posted
                yield posted
                # resumed: the watcher's stream has taken the message
                self._sent[news] = posted.version
                self._sent_changed.set()
                try:
                    async with asyncio.timeout(self._repeat_s):
                        await news.wait()
                except TimeoutError:
                    continue
        finally:
            self._news.discard(news)
            del self._sent[news]
            self._sent_changed.set()

    async def delivered(self, version: int, limit_s: float) -> bool:
        """Whether every watcher was sent this version or a newer one before the limit passed."""
        try:
            async with asyncio.timeout(limit_s):
                while any(sent < version for sent in self._sent.values()):
                    self._sent_changed.clear()
                    await self._sent_changed.wait()
        except TimeoutError:
            return False
        return True
