"""Room that reservations and leases hold, and how it is given back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from orchestra_cost_ledger.domain.entry import Entry

_LIVE = "('held', 'unknown')"
_ANY_STALE = """SELECT EXISTS (SELECT 1 FROM reservations WHERE state = 'held' AND expires_at <= ?1)
    OR EXISTS (SELECT 1 FROM leases WHERE state = 'active' AND expires_at <= ?1)"""


def expire(db: sqlite3.Connection, now: int) -> None:
    """Give back what stale reservations and leases hold."""
    if not db.execute(_ANY_STALE, (now,)).fetchone()[0]:
        return
    stale = db.execute(
        "SELECT reservation_id FROM reservations WHERE state = 'held' AND expires_at <= ?", (now,)
    ).fetchall()
    close(db, [row[0] for row in stale], "expired")
    for lease_id, budget_id, start, outstanding in db.execute(
        "SELECT lease_id, budget_id, period_start, outstanding_nanos FROM leases"
        " WHERE state = 'active' AND expires_at <= ?",
        (now,),
    ).fetchall():
        db.execute(
            "UPDATE leases SET state = 'expired', outstanding_nanos = 0 WHERE lease_id = ?", (lease_id,)
        )
        unlease(db, budget_id, start, outstanding)


def close(db: sqlite3.Connection, reservation_ids: Sequence[str], state: str) -> int:
    """Give back what those of them hold that hold something; returns how many did."""
    if not reservation_ids:
        return 0
    ids = json.dumps(list(reservation_ids))
    chosen = f"reservation_id IN (SELECT value FROM json_each(?)) AND state IN {_LIVE}"
    live = db.execute(f"SELECT reservation_id FROM reservations WHERE {chosen}", (ids,)).fetchall()
    if not live:
        return 0
    ids = json.dumps([row[0] for row in live])
    held = db.execute(
        "SELECT sum(nanos), budget_id, period_start FROM reservation_holds"
        " WHERE reservation_id IN (SELECT value FROM json_each(?)) GROUP BY budget_id, period_start",
        (ids,),
    ).fetchall()
    db.executemany(
        "UPDATE budget_periods SET reserved_nanos = reserved_nanos - ?"
        " WHERE budget_id = ? AND period_start = ?",
        held,
    )
    db.execute(
        "DELETE FROM reservation_holds WHERE reservation_id IN (SELECT value FROM json_each(?))", (ids,)
    )
    db.execute(
        "UPDATE reservations SET state = ? WHERE reservation_id IN (SELECT value FROM json_each(?))",
        (state, ids),
    )
    return len(live)


def end(db: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Give back what the reservations of these entries hold; keep it where the cost is not known. An entry
    may name a lease instead: then its cost is taken out of the lease, since it is spent now."""
    if not entries:
        return
    close(db, [entry.reservation_id for entry in entries if entry.frees_its_reservation], "settled")
    kept = [(entry.reservation_id,) for entry in entries if not entry.frees_its_reservation]
    db.executemany(
        "UPDATE reservations SET state = 'unknown' WHERE reservation_id = ? AND state = 'held'", kept
    )
    for entry in entries:
        if entry.cost_nanos:
            _spend_lease(db, entry.reservation_id, entry.cost_nanos)


def unlease(db: sqlite3.Connection, budget_id: str, start: int, nanos: int) -> None:
    db.execute(
        "UPDATE budget_periods SET leased_nanos = leased_nanos - ? WHERE budget_id = ? AND period_start = ?",
        (nanos, budget_id, start),
    )


def _spend_lease(db: sqlite3.Connection, lease_id: str, nanos: int) -> None:
    row = db.execute(
        "SELECT budget_id, period_start, outstanding_nanos FROM leases"
        " WHERE lease_id = ? AND outstanding_nanos > 0",
        (lease_id,),
    ).fetchone()
    if row is None:
        return
    taken = min(nanos, row[2])
    db.execute(
        "UPDATE leases SET outstanding_nanos = outstanding_nanos - ? WHERE lease_id = ?", (taken, lease_id)
    )
    unlease(db, row[0], row[1], taken)
