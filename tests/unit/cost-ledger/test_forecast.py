"""A forecast says its method and never promises less than what is spent already."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestra_cost_ledger.domain.budget import Budget, Standing
from orchestra_cost_ledger.domain.forecast import extend
from orchestra_cost_ledger.domain.moment import Period, period_start

DAY = 86_400_000_000
NOW = 1_795_348_800_000_000


def budget(period: Period = Period.DAY, limit: int = 100) -> Budget:
    return Budget("b", "b", "", "", "", 0, "", period, limit, True, (), False, NOW)


def test_half_a_day_at_ten_makes_twenty() -> None:
    found = extend(Standing(budget(), 10, 0, NOW - DAY // 2), NOW)
    assert found is not None
    assert (found.expected_nanos, found.limit_reached_at) == (20, None)
    assert found.method.startswith("linear")


def test_the_moment_when_the_limit_is_reached() -> None:
    start = NOW - DAY // 2
    found = extend(Standing(budget(limit=15), 10, 0, start), NOW)
    assert found is not None
    assert found.limit_reached_at == start + DAY * 3 // 4


def test_a_lifetime_has_no_end() -> None:
    assert extend(Standing(budget(Period.LIFETIME), 10, 0, 0), NOW) is None


@given(st.integers(0, 10**15), st.integers(0, DAY - 1), st.integers(0, 10**15))
def test_expected_is_at_least_spent(spent: int, elapsed: int, limit: int) -> None:
    start = period_start(Period.DAY, NOW)
    found = extend(Standing(budget(limit=limit), spent, 0, start), start + elapsed)
    assert found is not None
    assert found.expected_nanos >= spent
    assert found.limit_reached_at is None or start <= found.limit_reached_at < found.period_ends_at
