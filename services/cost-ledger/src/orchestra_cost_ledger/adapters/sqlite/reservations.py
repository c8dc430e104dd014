"""Reserving: each wish is admitted or refused by one conditional statement over all the budgets that it
matches.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence

from orchestra_cost_ledger.adapters.sqlite import holds
from orchestra_cost_ledger.adapters.sqlite.budgets import KnownBudgets, standing
from orchestra_cost_ledger.domain.budget import Budget
from orchestra_cost_ledger.domain.reservation import Held, Outcome, Refused, Wish, why_not

# The subquery names no column of the row that is updated, so it is asked once, before anything changes.
_TAKE = """UPDATE budget_periods SET reserved_nanos = reserved_nanos + ?
    WHERE (budget_id, period_start) IN (VALUES {0})
    AND NOT EXISTS (
        SELECT 1 FROM budget_periods p JOIN budgets b ON b.budget_id = p.budget_id
        WHERE (p.budget_id, p.period_start) IN (VALUES {0}) AND (b.frozen
            OR (b.hard AND p.spent_nanos + p.reserved_nanos + p.leased_nanos + ? > b.limit_nanos)))"""


def reserve(db: sqlite3.Connection, known: KnownBudgets, wishes: Sequence[Wish], now: int) -> list[Outcome]:
    """In the order of the wishes."""
    holds.expire(db, now)
    return [_repeated(db, wish) or _admit(db, known, wish, now) for wish in wishes]


def release(db: sqlite3.Connection, reservation_ids: Sequence[str]) -> int:
    """How many of them held something until now."""
    return holds.close(db, reservation_ids, "released")


def _repeated(db: sqlite3.Connection, wish: Wish) -> Held | None:
    row = db.execute(
        "SELECT reservation_id, attempt_id, nanos, expires_at, price_version FROM reservations"
        " WHERE attempt_id = ? AND state IN ('held', 'unknown', 'settled')",
        (wish.attempt_id,),
    ).fetchone()
    return Held(*row) if row else None


def _admit(db: sqlite3.Connection, known: KnownBudgets, wish: Wish, now: int) -> Outcome:
    matching = known.matching(db, wish.dimensions)
    budgets = [one for one in matching if not one.electricity_only]
    nanos = wish.nanos or 0
    periods = [(budget.budget_id, budget.period_at(now)) for budget in budgets]
    special = wish.nanos is None or len(budgets) < len(matching)
    if special and (refusal := _refusal(db, wish, matching, now)):
        return refusal
    known.ensure(db, periods)
    if periods and not _take(db, periods, nanos):
        refusal = _refusal(db, wish, matching, now)
        assert refusal is not None, "one budget refuses, so it has a reason"
        return refusal
    held = Held(uuid.uuid4().hex, wish.attempt_id, wish.nanos, wish.expires_at, wish.price_version)
    row = (held.reservation_id, held.attempt_id, "held", held.nanos, held.expires_at, held.price_version)
    db.execute(
        "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, *wish.dimensions, wish.model, now),
    )
    db.executemany(
        "INSERT INTO reservation_holds VALUES (?, ?, ?, ?)",
        [(held.reservation_id, budget_id, start, nanos) for budget_id, start in periods],
    )
    return held


def _take(db: sqlite3.Connection, periods: list[tuple[str, int]], nanos: int) -> bool:
    places = ", ".join(["(?, ?)"] * len(periods))
    flat = [value for period in periods for value in period]
    return db.execute(_TAKE.format(places), (nanos, *flat, *flat, nanos)).rowcount > 0


def _refusal(db: sqlite3.Connection, wish: Wish, budgets: list[Budget], now: int) -> Refused | None:
    return why_not(wish, [standing(db, budget, now) for budget in budgets])
