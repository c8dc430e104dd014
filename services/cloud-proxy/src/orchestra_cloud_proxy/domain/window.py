"""How many calls may run at once at one provider: additive increase, multiplicative decrease."""

from __future__ import annotations

from dataclasses import dataclass, replace

DECREASE = 0.75


@dataclass(frozen=True, slots=True)
class Window:
    """An immutable bound of at least 1 and at most `most`.

    A rate limit takes a quarter off and is remembered: above that height the bound grows by one per so many
    successes as it is wide, below it by one per success.
    """

    most: int
    size: float
    ceiling: float | None = None

    @classmethod
    def open(cls, most: int) -> Window:
        return cls(most, float(most))

    @property
    def places(self) -> int:
        return max(1, int(self.size))

    def worked(self) -> Window:
        if self.size >= self.most:
            return self
        careful = self.ceiling is not None and self.size >= self.ceiling
        return replace(self, size=min(float(self.most), self.size + (1 / self.size if careful else 1.0)))

    def limited(self) -> Window:
        smaller = max(1.0, self.size * DECREASE)
        return replace(self, size=smaller, ceiling=smaller)
