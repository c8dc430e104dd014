"""Requests and tokens per minute as continuously refilled buckets, and pauses that a provider asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """An immutable bucket of `capacity` per minute, full at first. May go below zero when an estimate was too
    low; then it has to fill up first."""

    capacity: int
    level: float
    at: float

    @classmethod
    def full(cls, capacity: int, now: float) -> Bucket:
        return cls(capacity, float(capacity), now)

    def filled(self, now: float) -> Bucket:
        grown = max(0.0, now - self.at) * self.capacity / MINUTE_S
        return replace(self, level=min(float(self.capacity), self.level + grown), at=max(now, self.at))

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; more than the capacity counts as the whole capacity."""
        missing = min(amount, float(self.capacity)) - self.filled(now).level
        return max(0.0, missing * MINUTE_S / self.capacity)

    def less(self, amount: float, now: float) -> Bucket:
        """Negative amounts give back."""
        filled = self.filled(now)
        return replace(filled, level=min(float(self.capacity), filled.level - amount))


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may still do. None: no limit is known. `paused_until`: the provider said to wait."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    paused_until: float = 0.0

    @classmethod
    def of(cls, rpm: int | None, tpm: int | None, now: float) -> KeyLimits:
        return cls(
            Bucket.full(rpm, now) if rpm is not None else None,
            Bucket.full(tpm, now) if tpm is not None else None,
        )

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until one request of so many tokens may leave."""
        return max(
            0.0,
            self.paused_until - now,
            self.requests.wait(1, now) if self.requests else 0.0,
            self.tokens.wait(tokens, now) if self.tokens else 0.0,
        )

    def taken(self, tokens: float, now: float) -> KeyLimits:
        """One request leaves."""
        return replace(
            self,
            requests=self.requests.less(1, now) if self.requests else None,
            tokens=self.tokens.less(tokens, now) if self.tokens else None,
        )

    def corrected(self, tokens: float, now: float) -> KeyLimits:
        """So many tokens more than estimated were used; negative: fewer."""
        return replace(self, tokens=self.tokens.less(tokens, now) if self.tokens else None)

    def paused(self, until: float) -> KeyLimits:
        return replace(self, paused_until=max(self.paused_until, until))
