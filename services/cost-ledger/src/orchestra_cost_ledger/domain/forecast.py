"""Where a budget's period will end if it goes on as it went so far."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra_cost_ledger.domain.budget import Standing

METHOD = (
    "linear: what was spent since the period began, over the time since then, times the period's length;"
    " reservations are not counted"
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """`limit_reached_at` is None when the limit is not reached within the period."""

    spent_nanos: int
    expected_nanos: int
    period_ends_at: int
    limit_reached_at: int | None
    method: str


def extend(standing: Standing, now: int) -> Forecast | None:
    """The linear extension of a budget's spending to the end of its period; None for a lifetime budget."""
    ends = standing.period_ends_at
    if ends is None:
        return None
    start, spent, limit = standing.period_started_at, standing.spent_nanos, standing.budget.limit_nanos
    elapsed = max(1, min(now, ends) - start)
    expected = max(spent, spent * (ends - start) // elapsed)
    reached = start + elapsed * limit // spent if spent else None
    if reached is not None and reached >= ends:
        reached = None
    return Forecast(spent, expected, ends, reached, METHOD)
