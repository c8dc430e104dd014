"""Budgets: what they match, what is left of them, and when they call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestra_cost_ledger.domain.entry import Dimensions
from orchestra_cost_ledger.domain.moment import Period, period_end, period_start

LOCAL = "local"
"""The provider of everything that runs on our own devices."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on what matching attempts may cost within a period. Empty match fields match everything.

    `electricity_only` counts the power of local samples instead of their whole cost. It matches nothing else,
    and holds no room ahead.
    """

    budget_id: str
    name: str
    tenant: str
    run_id: str
    provider: str
    tier: int
    phase: str
    period: Period
    limit_nanos: int
    hard: bool
    alert_at: tuple[float, ...]
    frozen: bool
    created_at: int
    electricity_only: bool = False

    def matches(self, one: Dimensions) -> bool:
        """Whether an attempt of these dimensions counts against it."""
        return (
            (not self.electricity_only or one.provider == LOCAL)
            and self.tenant in ("", one.tenant)
            and self.run_id in ("", one.run_id)
            and self.provider in ("", one.provider)
            and self.tier in (0, one.tier)
            and self.phase in ("", one.phase)
        )

    def period_at(self, at: int) -> int:
        """The start of its period that holds `at`."""
        return period_start(self.period, at)

    def charged(self, cost_nanos: int | None, electricity_nanos: int | None) -> int:
        """What an attempt of this cost takes from it; what is not known takes nothing."""
        return (electricity_nanos if self.electricity_only else cost_nanos) or 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget with what its current period holds; leases are counted as reserved."""

    budget: Budget
    spent_nanos: int
    reserved_nanos: int
    period_started_at: int

    @property
    def left_nanos(self) -> int:
        """Negative when a soft budget is overrun."""
        return self.budget.limit_nanos - self.spent_nanos - self.reserved_nanos

    @property
    def period_ends_at(self) -> int | None:
        return period_end(self.budget.period, self.period_started_at)


@dataclass(frozen=True, slots=True)
class Alert:
    """A share of a budget's limit was reached for the first time in its period."""

    budget: Budget
    share: float
    spent_nanos: int
    period_started_at: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Room handed to `holder` ahead of time."""

    lease_id: str
    budget_id: str
    holder: str
    nanos: int
    expires_at: int


def reached(budget: Budget, spent_nanos: int) -> Iterable[float]:
    """The shares of the limit that so much spending has reached."""
    return [share for share in budget.alert_at if spent_nanos >= share * budget.limit_nanos]
