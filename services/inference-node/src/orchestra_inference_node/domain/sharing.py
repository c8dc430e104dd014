"""How long each sample used the device: while k samples run at once each is charged one k-th of the time."""

from __future__ import annotations


class ProcessorSharing:
    """Charges add up to the busy time exactly, whatever comes and goes. Times are seconds on one clock.

    One running total of charge per sample, ∫ dt / k, makes entering and leaving constant time: a sample's
    share is what
    the total grew by while it ran.
    """

    def __init__(self) -> None:
        self._running: dict[str, float] = {}
        self._total = 0.0
        self._seen = 0.0

    def __len__(self) -> int:
        return len(self._running)

    def enter(self, sample: str, now: float) -> None:
        """`sample` starts to use the device. ValueError when it does already."""
        if sample in self._running:
            raise ValueError(f"sample {sample} runs already")
        self._advance(now)
        self._running[sample] = self._total

    def leave(self, sample: str, now: float) -> float:
        """`sample` is done; its share in seconds. KeyError when it was not running."""
        self._advance(now)
        return self._total - self._running.pop(sample)

    def _advance(self, now: float) -> None:
        # a clock that steps back charges nothing rather than negative time
        if self._running and now > self._seen:
            self._total += (now - self._seen) / len(self._running)
        self._seen = max(self._seen, now)
