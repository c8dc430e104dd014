"""When a worker that died is started again."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 0.2
LONGEST_S = 30.0
STABLE_S = 60.0
TOO_OFTEN = 3


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a worker was restarted: `total` since it was loaded, `in_row` without a stable minute
    between."""

    total: int = 0
    in_row: int = 0

    def after_death(self, lived_s: float) -> Restarts:
        """The count after one more death, of a process that served `lived_s` seconds."""
        return Restarts(self.total + 1, 1 if lived_s >= STABLE_S else self.in_row + 1)

    @property
    def wait_s(self) -> float:
        """Seconds before the next start."""
        return min(FIRST_S * 2.0 ** max(0, self.in_row - 1), LONGEST_S)

    @property
    def too_often(self) -> bool:
        return self.in_row >= TOO_OFTEN
