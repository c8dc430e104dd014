"""Leases: room handed out ahead of time, counted as spent until it comes back or runs out."""

from __future__ import annotations

import sqlite3

from orchestra_cost_ledger.adapters.sqlite import answers, holds
from orchestra_cost_ledger.adapters.sqlite.budgets import KnownBudgets, standing
from orchestra_cost_ledger.domain.budget import Lease
from orchestra_cost_ledger.ports import Once
from orchestra_errors import BudgetExceeded, BudgetFrozen, FailedPrecondition, NotFound


def lease(db: sqlite3.Connection, known: KnownBudgets, wanted: Lease, now: int, once: Once | None) -> Lease:
    """Hold `wanted.nanos` of the budget's current period."""
    holds.expire(db, now)
    if (before := answers.seen(db, once)) is not None:
        row = db.execute(
            "SELECT lease_id, budget_id, holder, nanos, expires_at FROM leases WHERE lease_id = ?", (before,)
        ).fetchone()
        return Lease(*row)
    budget = known.get(db, wanted.budget_id)
    if budget.frozen:
        raise BudgetFrozen(budget.name)
    if budget.electricity_only:
        raise FailedPrecondition(f"budget {budget.name!r}", "counts electricity: nothing of it is held ahead")
    now_at = standing(db, budget, now)
    if budget.hard and now_at.left_nanos < wanted.nanos:
        raise BudgetExceeded(budget.name, wanted.nanos, max(0, now_at.left_nanos))
    start = now_at.period_started_at
    db.execute(
        "INSERT INTO budget_periods (budget_id, period_start, leased_nanos) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET leased_nanos = leased_nanos + excluded.leased_nanos",
        (budget.budget_id, start, wanted.nanos),
    )
    db.execute(
        "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, 'active', NULL, ?)",
        (
            wanted.lease_id,
            budget.budget_id,
            start,
            wanted.holder,
            wanted.nanos,
            wanted.nanos,
            wanted.expires_at,
        ),
    )
    answers.keep(db, once, wanted.lease_id)
    return wanted


def give_back(db: sqlite3.Connection, lease_id: str, spent_nanos: int, now: int) -> int:
    """What goes back. Spending whose entries have not arrived yet stays held, so that it cannot be spent
    twice.
    """
    holds.expire(db, now)
    row = db.execute(
        "SELECT budget_id, period_start, nanos, outstanding_nanos, state, returned_nanos FROM leases"
        " WHERE lease_id = ?",
        (lease_id,),
    ).fetchone()
    if row is None:
        raise NotFound("lease", lease_id)
    budget_id, start, nanos, outstanding, state, returned = row
    if state == "returned":
        return int(returned)
    if state == "expired":
        return 0
    arrived = nanos - outstanding
    still_to_come = max(0, min(outstanding, spent_nanos - arrived))
    back = int(outstanding - still_to_come)
    db.execute(
        "UPDATE leases SET state = 'returned', outstanding_nanos = ?, returned_nanos = ? WHERE lease_id = ?",
        (still_to_come, back, lease_id),
    )
    holds.unlease(db, budget_id, start, back)
    return back
