"""A breaker for one model at one provider: after several failures in a row nobody waits for the next one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class BreakerState(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """An immutable state; every step returns the next one. Times are seconds of one monotonic clock.

    CLOSED counts failures in a row; at `threshold` it is OPEN for `open_s`; then HALF_OPEN lets one probe
    through, and its end closes or reopens it. A probe that never tells its end gives way after `open_s`.
    """

    threshold: int
    open_s: float
    failures: int = 0
    opened_at: float | None = None
    probe_since: float | None = None

    def state(self, now: float) -> BreakerState:
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.opened_at + self.open_s else BreakerState.HALF_OPEN

    def wait(self, now: float) -> float | None:
        """None: a call may go. Otherwise the seconds after which asking again makes sense."""
        match self.state(now):
            case BreakerState.CLOSED:
                return None
            case BreakerState.OPEN:
                return (self.opened_at or now) + self.open_s - now
            case BreakerState.HALF_OPEN:
                if self.probe_since is None or now >= self.probe_since + self.open_s:
                    return None
                return self.probe_since + self.open_s - now

    def began(self, now: float) -> Breaker:
        """A call goes; in HALF_OPEN it is the probe."""
        if self.state(now) is BreakerState.HALF_OPEN:
            return replace(self, probe_since=now)
        return self

    def worked(self) -> Breaker:
        """A call came through: closed, nothing counted."""
        return Breaker(self.threshold, self.open_s)

    def failed(self, now: float) -> Breaker:
        """A call failed in a way that speaks against the provider."""
        failures = self.failures + 1
        if self.opened_at is None and failures < self.threshold:
            return replace(self, failures=failures)
        if self.state(now) is BreakerState.OPEN:
            # a call that left before it opened; it does not prolong the pause
            return replace(self, failures=failures)
        return replace(self, failures=failures, opened_at=now, probe_since=None)

    def ended(self) -> Breaker:
        """A call ended without a verdict on the provider (cancelled, refused): a probe may be made again."""
        return replace(self, probe_since=None)
