"""Noticing a peer that keeps a stream open and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Silence:
    """Calls `end` once nothing has been heard for the limit. One timer for each limit passed, not for each
    message."""

    def __init__(self, end: Callable[[], object], first_s: float, later_s: float) -> None:
        self._end = end
        self._limit = first_s
        self._later_s = later_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._held = False
        self.broken_after: float | None = None
        """Seconds of silence after which it ended the stream; None while it has not."""

    def heard(self) -> None:
        """Something came."""
        self._last = self._loop.time()
        self._limit = self._later_s

    def hold(self, held: bool) -> None:
        """While held, we are the ones who do not read."""
        self._held = held
        self._last = self._loop.time()

    def _look(self) -> None:
        quiet = 0.0 if self._held else self._loop.time() - self._last
        if quiet >= self._limit:
            self.broken_after = self._limit
            self._end()
        else:
            self._timer = self._loop.call_later(self._limit - quiet, self._look)

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._limit, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
