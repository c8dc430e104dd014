"""What this replica has sent where: the load that the choice looks at."""

from __future__ import annotations

from collections import Counter

from ..domain.targets import Load, Target

FAILING_S = 5.0


class Traffic:
    """Counts of this replica alone; another replica has its own."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._last_turn: dict[str, int] = {}
        self._turns = 0
        self._failing: dict[str, float] = {}

    def load(self) -> Load:
        """A view that follows what happens: read it within one choice, do not keep it."""
        return Load(self._running, self._last_turn, self._failing)

    def begin(self, target: Target, samples: int) -> None:
        self._turns += 1
        self._last_turn[target.model] = self._turns
        self._running[target.key] += samples

    def end(self, target: Target, samples: int) -> None:
        self._running[target.key] -= samples
        if self._running[target.key] <= 0:
            del self._running[target.key]

    def failed(self, target: Target, now: float) -> None:
        """It is tried last for a while."""
        for key in [key for key, until in self._failing.items() if until <= now]:
            del self._failing[key]
        self._failing[target.key] = now + FAILING_S

    def worked(self, target: Target) -> None:
        self._failing.pop(target.key, None)

    def running(self) -> int:
        """Samples on their way."""
        return self._running.total()
