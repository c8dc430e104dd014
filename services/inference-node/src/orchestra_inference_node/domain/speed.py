"""Tokens per second over the last minute of work."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0


class RecentSpeed:
    """Counts tokens against the time in which at least one sample ran. Times are seconds on one clock."""

    def __init__(self) -> None:
        self._done: deque[tuple[float, int]] = deque()
        self._busy: deque[tuple[float, float]] = deque()
        self._since: float | None = None
        self._running = 0

    def started(self, now: float) -> None:
        self._running += 1
        if self._running == 1:
            self._since = now

    def ended(self, tokens: int, now: float) -> None:
        """One sample ended after `tokens` tokens."""
        self._running -= 1
        self._done.append((now, tokens))
        if self._running == 0 and self._since is not None:
            self._busy.append((self._since, now))
            self._since = None
        while self._done and self._done[0][0] < now - WINDOW_S:
            self._done.popleft()
        while self._busy and self._busy[0][1] < now - WINDOW_S:
            self._busy.popleft()

    def tokens_per_second(self, now: float) -> float | None:
        """None until something was measured."""
        tokens = sum(count for at, count in self._done if at >= now - WINDOW_S)
        begin = now - WINDOW_S
        spans = [*self._busy, (self._since, now)] if self._since is not None else list(self._busy)
        busy = sum(end - max(start, begin) for start, end in spans if end > begin)
        return tokens / busy if tokens and busy > 0 else None
