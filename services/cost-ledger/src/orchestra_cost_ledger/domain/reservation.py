"""Room for an attempt that is about to leave, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestra_cost_ledger.domain.budget import Standing
from orchestra_cost_ledger.domain.entry import Dimensions


class Reason(StrEnum):
    """Names of the contract's ErrorReason."""

    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    BUDGET_FROZEN = "BUDGET_FROZEN"
    PRICE_UNKNOWN = "PRICE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Wish:
    """`nanos`: the most it can cost; None when its price is not known. Held until `expires_at`."""

    attempt_id: str
    dimensions: Dimensions
    model: str
    nanos: int | None
    expires_at: int
    price_version: str


@dataclass(frozen=True, slots=True)
class Held:
    """Admitted: so much room is held in every matching budget."""

    reservation_id: str
    attempt_id: str
    nanos: int
    expires_at: int
    price_version: str


@dataclass(frozen=True, slots=True)
class Refused:
    """`standing` is the budget that refuses; `needed_nanos` is 0 when the price is not known."""

    reason: Reason
    standing: Standing
    needed_nanos: int

    @property
    def message(self) -> str:
        name = self.standing.budget.name
        if self.reason is Reason.BUDGET_FROZEN:
            return f"budget {name!r} is frozen"
        if self.reason is Reason.PRICE_UNKNOWN:
            return f"budget {name!r} is hard and the price of the model is not known"
        left = max(0, self.standing.left_nanos)
        return f"budget {name!r} has {left} nano-dollars left, {self.needed_nanos} are needed"


Outcome = Held | Refused
