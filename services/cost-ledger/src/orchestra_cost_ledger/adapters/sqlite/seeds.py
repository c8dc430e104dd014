"""What the configuration says, brought in once: a later change by hand stays, a later change of the file
counts.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.adapters.sqlite import budgets, prices
from orchestra_cost_ledger.adapters.sqlite.budgets import KnownBudgets
from orchestra_cost_ledger.domain.budget import Budget


def seed(
    db: sqlite3.Connection,
    known: KnownBudgets,
    wanted: Sequence[Budget],
    rows: Sequence[entry_pb2.Price],
    now: int,
) -> tuple[int, int]:
    """How many budgets and price rows are new or changed."""
    changed = sum(
        _seed_budget(db, known, budget, now)
        for budget in wanted
        if _is_news(db, f"budget {budget.name}", repr(replace(budget, budget_id="", created_at=0)).encode())
    )
    return changed, sum(_seed_price(db, row, now) for row in rows)


def _seed_budget(db: sqlite3.Connection, known: KnownBudgets, budget: Budget, now: int) -> bool:
    row = db.execute("SELECT budget_id FROM budgets WHERE name = ?", (budget.name,)).fetchone()
    if row is None:
        budgets.create(db, known, budget, now)
    else:
        there = replace(budget, budget_id=row[0])
        budgets.update(db, known, there, ("limit_nanos", "hard", "alert_at"), now)
    return True


def _seed_price(db: sqlite3.Connection, price: entry_pb2.Price, now: int) -> bool:
    """A row that the file says for the first time counts from the day it was checked on, a changed one from
    now.
    """
    subject = f"price {price.provider}/{price.model}"
    first = db.execute("SELECT 1 FROM seeds WHERE subject = ?", (subject,)).fetchone() is None
    if not _is_news(db, subject, price.SerializeToString(deterministic=True)):
        return False
    dated = entry_pb2.Price()
    dated.CopyFrom(price)
    checked = price.checked_on.ToMicroseconds() if price.HasField("checked_on") else now
    dated.valid_from.FromMicroseconds(min(checked, now) if first else now)
    prices.add(db, dated)
    return True


def _is_news(db: sqlite3.Connection, subject: str, content: bytes) -> bool:
    digest = hashlib.sha256(content).digest()
    return (
        db.execute(
            "INSERT INTO seeds VALUES (?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest"
            " WHERE seeds.digest <> excluded.digest",
            (subject, digest),
        ).rowcount
        > 0
    )
