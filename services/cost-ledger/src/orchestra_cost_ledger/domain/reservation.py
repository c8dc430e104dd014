"""Room for an attempt that is about to leave, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestra_cost_ledger.domain.budget import Standing
from orchestra_cost_ledger.domain.entry import Dimensions
from orchestra_errors import BudgetExceeded, BudgetFrozen, PriceUnknown


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
    """Admitted: so much room is held in every matching budget. `nanos` None: the price is not known, and no
    hard budget matches."""

    reservation_id: str
    attempt_id: str
    nanos: int | None
    expires_at: int
    price_version: str


@dataclass(frozen=True, slots=True)
class Refused:
    """`standing` is the budget that refuses, `error` the kind in which a caller would hear of it;
    `needed_nanos` is 0 when the price is not known.
    """

    error: BudgetExceeded | BudgetFrozen | PriceUnknown
    standing: Standing
    needed_nanos: int

    @property
    def reason(self) -> str:
        """The name of an ErrorReason."""
        return self.error.reason


Outcome = Held | Refused


def why_not(wish: Wish, matching: Sequence[Standing]) -> Refused | None:
    """A frozen budget, else a hard one that is to bound what nobody can price, else the hard one that has the
    least left; None when the wish fits. A budget that counts electricity holds nothing ahead: it refuses when
    it is used up.
    """
    needed = wish.nanos or 0
    hard = [one for one in matching if one.budget.hard]
    for one in matching:
        if one.budget.frozen:
            return Refused(BudgetFrozen(one.budget.name), one, needed)
    for one in hard:
        if wish.nanos is None and not one.budget.electricity_only:
            error = PriceUnknown(wish.dimensions.provider, wish.model, one.budget.name)
            return Refused(error, one, 0)
    full = [one for one in hard if one.left_nanos < (1 if one.budget.electricity_only else needed)]
    if not full:
        return None
    tightest = min(full, key=lambda one: one.left_nanos)
    left = max(0, tightest.left_nanos)
    return Refused(BudgetExceeded(tightest.budget.name, needed, left), tightest, needed)
