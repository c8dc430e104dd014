"""Which request ids were answered, and with what."""

from __future__ import annotations

import sqlite3

from orchestra_cost_ledger.ports import Once
from orchestra_errors import AlreadyExists


def seen(db: sqlite3.Connection, once: Once | None) -> str | None:
    """What came of this request before; None when it is new. Raises AlreadyExists for another payload."""
    if once is None:
        return None
    row = db.execute(
        "SELECT digest, subject FROM answers WHERE request_id = ?", (once.request_id,)
    ).fetchone()
    if row is None:
        return None
    if row[0] != once.digest:
        raise AlreadyExists("request", once.request_id, "was used with another payload")
    return str(row[1])


def keep(db: sqlite3.Connection, once: Once | None, subject: str) -> None:
    """Remember what came of it."""
    if once is not None:
        db.execute("INSERT INTO answers VALUES (?, ?, ?)", (once.request_id, once.digest, subject))
