"""Periods tile time: every moment is in exactly one, and the next begins where it ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_cost_ledger.domain.moment import Period, period_end, period_start

moments = st.integers(0, 4_102_444_800_000_000)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@given(st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH]), moments)
def test_a_moment_lies_in_its_period_and_the_next_begins_at_its_end(period: Period, moment: int) -> None:
    start = period_start(period, moment)
    end = period_end(period, start)
    assert end is not None
    assert start <= moment < end
    assert period_start(period, start) == period_start(period, end - 1) == start
    assert period_start(period, end) == end


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period.DAY, "2026-11-22", "2026-11-23"),
        (Period.WEEK, "2026-11-16", "2026-11-23"),
        (Period.MONTH, "2026-11-01", "2026-12-01"),
    ],
)
def test_days_weeks_from_monday_and_months(period: Period, start: str, end: str) -> None:
    assert period_start(period, at("2026-11-22T23:59:59")) == at(start)
    assert period_end(period, at(start)) == at(end)


def test_december_ends_in_january_and_a_lifetime_never() -> None:
    assert period_end(Period.MONTH, at("2026-12-01")) == at("2027-01-01")
    assert period_start(Period.LIFETIME, at("2026-12-01")) == 0
    assert period_end(Period.LIFETIME, 0) is None
