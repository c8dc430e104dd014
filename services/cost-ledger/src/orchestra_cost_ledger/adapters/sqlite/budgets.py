"""Budgets in the database, and the writer's memory of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields, replace

from orchestra_cost_ledger.adapters.sqlite import answers
from orchestra_cost_ledger.domain.budget import LOCAL, Budget, Standing
from orchestra_cost_ledger.domain.entry import Dimensions
from orchestra_cost_ledger.domain.moment import Period, period_end
from orchestra_cost_ledger.ports import Once
from orchestra_errors import AlreadyExists, NotFound

_COLUMNS = ", ".join(field.name for field in fields(Budget))
_PLACES = ", ".join("?" * len(fields(Budget)))
_MATCHES = """(:tenant = '' OR tenant = :tenant) AND (:run_id = '' OR run_id = :run_id)
    AND (:provider = '' OR provider = :provider) AND (:tier = 0 OR tier = :tier)
    AND (:phase = '' OR phase = :phase)"""


class KnownBudgets:
    """All budgets, read again when another connection or this one has changed something.

    Nobody else can change anything while a transaction of ours writes: so it is asked once in each.
    """

    def __init__(self) -> None:
        self._version: int | None = None
        self._all: list[Budget] = []
        self._current = False
        self._periods: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """A transaction begins."""
        self._current = False

    def forget(self) -> None:
        """Something was changed, or taken back."""
        self._version = None
        self._current = False
        self._periods.clear()

    def ensure(self, db: sqlite3.Connection, periods: Sequence[tuple[str, int]]) -> None:
        """Let there be a row of running figures for each of these; there is one for ever then."""
        new = [period for period in periods if period not in self._periods]
        if new:
            db.executemany(
                "INSERT INTO budget_periods (budget_id, period_start) VALUES (?, ?) ON CONFLICT DO NOTHING",
                new,
            )
            self._periods.update(new)

    def matching(self, db: sqlite3.Connection, dimensions: Dimensions) -> list[Budget]:
        """Those that an attempt of these dimensions counts against."""
        return [budget for budget in self._read(db) if budget.matches(dimensions)]

    def get(self, db: sqlite3.Connection, budget_id: str) -> Budget:
        """Raises NotFound."""
        for budget in self._read(db):
            if budget.budget_id == budget_id:
                return budget
        raise NotFound("budget", budget_id)

    def _read(self, db: sqlite3.Connection) -> list[Budget]:
        if self._current:
            return self._all
        (version,) = db.execute("PRAGMA data_version").fetchone()
        self._current = True
        if version != self._version:
            self._all = [_budget(row) for row in db.execute(f"SELECT {_COLUMNS} FROM budgets")]
            self._version = version
        return self._all


def create(
    db: sqlite3.Connection, known: KnownBudgets, budget: Budget, now: int, once: Once | None = None
) -> Standing:
    """Begins with what matching entries and live reservations of its current period come to."""
    if (before := answers.seen(db, once)) is not None:
        return standing(db, known.get(db, before), now)
    known.forget()
    _refuse_taken(db, budget)
    db.execute(f"INSERT INTO budgets ({_COLUMNS}) VALUES ({_PLACES})", _row(budget))
    start = budget.period_at(now)
    match = {key: getattr(budget, key) for key in ("tenant", "run_id", "provider", "tier", "phase")}
    if budget.electricity_only:
        match["provider"] = LOCAL
    end = period_end(budget.period, start)
    column = "electricity_nanos" if budget.electricity_only else "cost_nanos"
    (spent,) = db.execute(
        f"SELECT coalesce(sum({column}), 0) FROM entries"
        f" WHERE occurred_at >= :start AND (:end IS NULL OR occurred_at < :end) AND {_MATCHES}",
        match | {"start": start, "end": end},
    ).fetchone()
    reserved = 0
    if not budget.electricity_only:
        live = f"FROM reservations WHERE state IN ('held', 'unknown') AND {_MATCHES}"
        db.execute(
            "INSERT INTO reservation_holds"
            f" SELECT reservation_id, :budget_id, :start, coalesce(nanos, 0) {live}",
            match | {"start": start, "budget_id": budget.budget_id},
        )
        (reserved,) = db.execute(f"SELECT coalesce(sum(nanos), 0) {live}", match).fetchone()
    db.execute(
        "INSERT INTO budget_periods (budget_id, period_start, spent_nanos, reserved_nanos)"
        " VALUES (?, ?, ?, ?)",
        (budget.budget_id, start, spent, reserved),
    )
    answers.keep(db, once, budget.budget_id)
    return Standing(budget, spent, reserved, start)


def update(
    db: sqlite3.Connection,
    known: KnownBudgets,
    budget: Budget,
    changed: Sequence[str],
    now: int,
    once: Once | None = None,
) -> Standing:
    """Take the `changed` fields over."""
    current = known.get(db, budget.budget_id)
    if answers.seen(db, once) is None:
        current = replace(current, **{name: getattr(budget, name) for name in changed})
        _refuse_taken(db, current)
        db.execute(
            "UPDATE budgets SET name = ?, limit_nanos = ?, hard = ?, alert_at = ?, frozen = ?"
            " WHERE budget_id = ?",
            (
                current.name,
                current.limit_nanos,
                current.hard,
                json.dumps(current.alert_at),
                current.frozen,
                current.budget_id,
            ),
        )
        known.forget()
        answers.keep(db, once, budget.budget_id)
    return standing(db, current, now)


def read(db: sqlite3.Connection, budget_id: str, now: int) -> Standing:
    """Raises NotFound."""
    row = db.execute(f"SELECT {_COLUMNS} FROM budgets WHERE budget_id = ?", (budget_id,)).fetchone()
    if row is None:
        raise NotFound("budget", budget_id)
    return _live(db, standing(db, _budget(row), now), now)


def after(db: sqlite3.Connection, name: str, limit: int, now: int) -> list[Standing]:
    """By name."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM budgets WHERE name > ? ORDER BY name LIMIT ?", (name, limit))
    return [_live(db, standing(db, _budget(row), now), now) for row in rows.fetchall()]


def standing(db: sqlite3.Connection, budget: Budget, now: int) -> Standing:
    """What the period that holds `now` comes to, stale reservations and leases included."""
    start = budget.period_at(now)
    row = db.execute(
        "SELECT spent_nanos, reserved_nanos + leased_nanos FROM budget_periods"
        " WHERE budget_id = ? AND period_start = ?",
        (budget.budget_id, start),
    ).fetchone()
    spent, reserved = row or (0, 0)
    return Standing(budget, spent, reserved, start)


def _live(db: sqlite3.Connection, seen: Standing, now: int) -> Standing:
    """Without what is stale and waits for the next writer to be given back."""
    key = (seen.budget.budget_id, seen.period_started_at, now)
    (stale,) = db.execute(
        """SELECT coalesce(sum(nanos), 0) FROM (
            SELECT h.nanos FROM reservation_holds h JOIN reservations r ON r.reservation_id = h.reservation_id
            WHERE h.budget_id = ?1 AND h.period_start = ?2 AND r.state = 'held' AND r.expires_at <= ?3
            UNION ALL SELECT outstanding_nanos FROM leases
            WHERE budget_id = ?1 AND period_start = ?2 AND state = 'active' AND expires_at <= ?3)""",
        key,
    ).fetchone()
    return replace(seen, reserved_nanos=seen.reserved_nanos - stale)


def _refuse_taken(db: sqlite3.Connection, budget: Budget) -> None:
    taken = "SELECT 1 FROM budgets WHERE name = ? AND budget_id <> ?"
    if db.execute(taken, (budget.name, budget.budget_id)).fetchone():
        raise AlreadyExists("budget", budget.name)


def _row(budget: Budget) -> tuple[object, ...]:
    return tuple(json.dumps(value) if isinstance(value, tuple) else value for value in astuple(budget))


def _budget(row: tuple[object, ...]) -> Budget:
    values = dict(zip((field.name for field in fields(Budget)), row, strict=True))
    values["period"] = Period(values["period"])  # type: ignore[arg-type]
    values["alert_at"] = tuple(json.loads(str(values["alert_at"])))
    for name in ("hard", "frozen", "electricity_only"):
        values[name] = bool(values[name])
    return Budget(**values)  # type: ignore[arg-type]
