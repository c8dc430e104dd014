"""Time as the ledger counts it: integer microseconds since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import lru_cache

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Period(IntEnum):
    """How often a budget begins anew, in UTC; weeks begin on Monday. The numbers are the contract's."""

    DAY = 1
    WEEK = 2
    MONTH = 3
    LIFETIME = 4


def period_start(period: Period, at: int) -> int:
    """The start of the period that holds `at`; 0 for a lifetime."""
    if period is Period.LIFETIME:
        return 0
    return _start(period, at // DAY)


@lru_cache(maxsize=256)
def _start(period: Period, days: int) -> int:
    # every attempt of the mesh asks, and nearly all of them for today
    day = _EPOCH + timedelta(days=days)
    if period is Period.WEEK:
        day -= timedelta(days=day.weekday())
    elif period is Period.MONTH:
        day = day.replace(day=1)
    return _micros(day)


def period_end(period: Period, start: int) -> int | None:
    """The start of the next period; None for a lifetime."""
    if period is Period.LIFETIME:
        return None
    day = _EPOCH + timedelta(microseconds=start)
    if period is Period.DAY:
        return _micros(day + timedelta(days=1))
    if period is Period.WEEK:
        return _micros(day + timedelta(days=7))
    return _micros(day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1))


def _micros(day: datetime) -> int:
    return (day - _EPOCH) // timedelta(microseconds=1)
