"""Appending entries: once per attempt, charged to every budget that matches, in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from orchestra_cost_ledger.adapters.sqlite import holds
from orchestra_cost_ledger.adapters.sqlite.budgets import KnownBudgets
from orchestra_cost_ledger.domain.budget import Alert, Budget, reached
from orchestra_cost_ledger.domain.entry import Dimensions, Entry, Feedback
from orchestra_cost_ledger.ports import Recorded

_COLUMNS = ", ".join(Entry._fields)
_INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({', '.join('?' * len(Entry._fields))})"
_CHARGE = """INSERT INTO budget_periods (budget_id, period_start, spent_nanos) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET spent_nanos = spent_nanos + excluded.spent_nanos"""
_FEEDBACK = """INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    run_id = excluded.run_id, accepted = excluded.accepted, reward = excluded.reward,
    labels = excluded.labels, given_at = excluded.given_at WHERE excluded.given_at >= feedback.given_at"""


def record(
    db: sqlite3.Connection, known: KnownBudgets, entries: Sequence[Entry], feedback: Sequence[Feedback]
) -> Recorded:
    """One writer at a time makes reading and then inserting safe. An attempt that is there already is not
    touched.
    """
    fresh = _fresh(db, entries)
    db.executemany(_INSERT, fresh)
    holds.end(db, [entry for entry in fresh if entry.reservation_id])
    alerts = _charge(db, known, fresh)
    db.executemany(
        _FEEDBACK,
        [
            (f.tenant, f.sample_id, f.run_id, f.accepted, f.reward, json.dumps(dict(f.labels)), f.given_at)
            for f in feedback
        ],
    )
    return Recorded(len(fresh), len(entries) - len(fresh), len(feedback), alerts)


def _fresh(db: sqlite3.Connection, entries: Sequence[Entry]) -> list[Entry]:
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.attempt_id, entry)
    there = db.execute(
        "SELECT attempt_id FROM entries WHERE attempt_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(first)),),
    )
    for (attempt_id,) in there.fetchall():
        del first[attempt_id]
    return list(first.values())


def _charge(db: sqlite3.Connection, known: KnownBudgets, entries: Sequence[Entry]) -> tuple[Alert, ...]:
    matching: dict[Dimensions, list[Budget]] = {}
    charges: defaultdict[tuple[str, int], int] = defaultdict(int)
    budgets: dict[str, Budget] = {}
    for entry in entries:
        if not (entry.cost_nanos or entry.electricity_nanos):
            continue
        dimensions = entry.dimensions
        if (found := matching.get(dimensions)) is None:
            found = matching[dimensions] = known.matching(db, dimensions)
        for budget in found:
            if nanos := budget.charged(entry.cost_nanos, entry.electricity_nanos):
                budgets[budget.budget_id] = budget
                charges[budget.budget_id, budget.period_at(entry.occurred_at)] += nanos
    db.executemany(_CHARGE, [(budget_id, start, nanos) for (budget_id, start), nanos in charges.items()])
    return tuple(alert for budget_id, start in charges for alert in _alerts(db, budgets[budget_id], start))


def _alerts(db: sqlite3.Connection, budget: Budget, start: int) -> list[Alert]:
    (spent,) = db.execute(
        "SELECT spent_nanos FROM budget_periods WHERE budget_id = ? AND period_start = ?",
        (budget.budget_id, start),
    ).fetchone()
    raised = []
    for share in reached(budget, spent):
        row = (budget.budget_id, start, share, spent)
        if db.execute("INSERT INTO alerts VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount:
            raised.append(Alert(budget, share, spent, start))
    return raised
