"""The shape of the database, step by step. A step that was released is never changed: add another."""

from __future__ import annotations

import sqlite3

_FIRST = (
    """CREATE TABLE entries (
        seq INTEGER PRIMARY KEY,
        attempt_id TEXT NOT NULL UNIQUE,
        request_id TEXT NOT NULL, sample_id TEXT NOT NULL, sample_index INTEGER NOT NULL,
        tenant TEXT NOT NULL, run_id TEXT NOT NULL, phase TEXT NOT NULL, tier INTEGER NOT NULL,
        provider TEXT NOT NULL, model TEXT NOT NULL, revision TEXT NOT NULL, node_id TEXT NOT NULL,
        state INTEGER NOT NULL,
        prompt_tokens INTEGER, cached_prompt_tokens INTEGER, completion_tokens INTEGER, reasoning_tokens
        INTEGER, queued_us INTEGER, to_first_token_us INTEGER, total_us INTEGER, device_share_us INTEGER,
        cost_state INTEGER NOT NULL,
        cost_nanos INTEGER, electricity_nanos INTEGER, hardware_nanos INTEGER, saved_nanos INTEGER,
        price_version TEXT NOT NULL, finish_reason INTEGER NOT NULL, labels TEXT, trace_id TEXT NOT NULL,
        reservation_id TEXT NOT NULL, occurred_at INTEGER NOT NULL, from_cache INTEGER NOT NULL,
        error_reason TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX entries_by_time ON entries (occurred_at)",
    "CREATE INDEX entries_by_run ON entries (run_id, occurred_at) WHERE run_id <> ''",
    """CREATE TABLE feedback (
        tenant TEXT NOT NULL, sample_id TEXT NOT NULL, run_id TEXT NOT NULL,
        accepted INTEGER, reward REAL, labels TEXT NOT NULL, given_at INTEGER NOT NULL,
        PRIMARY KEY (tenant, sample_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE budgets (
        budget_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL, run_id TEXT NOT NULL, provider TEXT NOT NULL, tier INTEGER NOT NULL, phase TEXT
        NOT NULL, period INTEGER NOT NULL, limit_nanos INTEGER NOT NULL, hard INTEGER NOT NULL, alert_at TEXT
        NOT NULL, frozen INTEGER NOT NULL, created_at INTEGER NOT NULL, electricity_only INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE budget_periods (
        budget_id TEXT NOT NULL REFERENCES budgets, period_start INTEGER NOT NULL,
        spent_nanos INTEGER NOT NULL DEFAULT 0, reserved_nanos INTEGER NOT NULL DEFAULT 0 CHECK
        (reserved_nanos >= 0), leased_nanos INTEGER NOT NULL DEFAULT 0 CHECK (leased_nanos >= 0),
        PRIMARY KEY (budget_id, period_start)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE alerts (
        budget_id TEXT NOT NULL, period_start INTEGER NOT NULL, share REAL NOT NULL, spent_nanos INTEGER NOT
        NULL, PRIMARY KEY (budget_id, period_start, share)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE reservations (
        reservation_id TEXT PRIMARY KEY, attempt_id TEXT NOT NULL, state TEXT NOT NULL
            CHECK (state IN ('held', 'unknown', 'settled', 'released', 'expired')),
        nanos INTEGER NOT NULL, expires_at INTEGER NOT NULL, price_version TEXT NOT NULL,
        tenant TEXT NOT NULL, run_id TEXT NOT NULL, provider TEXT NOT NULL, tier INTEGER NOT NULL, phase TEXT
        NOT NULL, model TEXT NOT NULL, created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX reservations_by_attempt ON reservations (attempt_id)",
    "CREATE INDEX reservations_to_expire ON reservations (expires_at) WHERE state = 'held'",
    """CREATE TABLE reservation_holds (
        reservation_id TEXT NOT NULL, budget_id TEXT NOT NULL, period_start INTEGER NOT NULL, nanos INTEGER
        NOT NULL, PRIMARY KEY (reservation_id, budget_id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE leases (
        lease_id TEXT PRIMARY KEY, budget_id TEXT NOT NULL, period_start INTEGER NOT NULL, holder TEXT NOT
        NULL, nanos INTEGER NOT NULL, outstanding_nanos INTEGER NOT NULL CHECK (outstanding_nanos >= 0),
        state TEXT NOT NULL CHECK (state IN ('active', 'returned', 'expired')),
        returned_nanos INTEGER, expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX leases_to_expire ON leases (expires_at) WHERE state = 'active'",
    """CREATE TABLE prices (
        seq INTEGER PRIMARY KEY, price_version TEXT NOT NULL UNIQUE, provider TEXT NOT NULL, model TEXT NOT
        NULL, valid_from INTEGER NOT NULL, input INTEGER, output INTEGER, cached_input INTEGER, cache_write
        INTEGER, reasoning INTEGER, steps TEXT NOT NULL, batch_factor REAL, electricity INTEGER, source TEXT
        NOT NULL, checked_on INTEGER
    ) STRICT""",
    "CREATE INDEX prices_by_model ON prices (provider, model, valid_from)",
    "CREATE TABLE seeds (subject TEXT PRIMARY KEY, digest BLOB NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE api_keys (
        key_id TEXT PRIMARY KEY, name TEXT NOT NULL, tenant TEXT NOT NULL, scopes TEXT NOT NULL, models TEXT
        NOT NULL, budget_ids TEXT NOT NULL, secret_hash BLOB NOT NULL UNIQUE, created_at INTEGER NOT NULL,
        expires_at INTEGER, revoked_at INTEGER, last_used_at INTEGER
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE answers (
        request_id TEXT PRIMARY KEY, digest BLOB NOT NULL, subject TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

_SECOND = (
    "ALTER TABLE entries ADD COLUMN cache_write_tokens INTEGER",
    # SQLite cannot take a NOT NULL back
    """CREATE TABLE reservations_2 (
        reservation_id TEXT PRIMARY KEY, attempt_id TEXT NOT NULL, state TEXT NOT NULL
            CHECK (state IN ('held', 'unknown', 'settled', 'released', 'expired')),
        nanos INTEGER, expires_at INTEGER NOT NULL, price_version TEXT NOT NULL,
        tenant TEXT NOT NULL, run_id TEXT NOT NULL, provider TEXT NOT NULL, tier INTEGER NOT NULL, phase TEXT
        NOT NULL, model TEXT NOT NULL, created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "INSERT INTO reservations_2 SELECT * FROM reservations",
    "DROP TABLE reservations",
    "ALTER TABLE reservations_2 RENAME TO reservations",
    "CREATE INDEX reservations_by_attempt ON reservations (attempt_id)",
    "CREATE INDEX reservations_to_expire ON reservations (expires_at) WHERE state = 'held'",
)

MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("entries, budgets, reservations, prices, keys", _FIRST),
    ("cache writes, reservations without a price", _SECOND),
)


class NewerDatabase(Exception):
    """The database was written by a newer build; the text is one line for the user."""


def migrate(db: sqlite3.Connection) -> None:
    """Bring the database to the newest shape, in one transaction. Raises NewerDatabase."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
            " applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT"
        )
        (done,) = db.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
        if done > len(MIGRATIONS):
            raise NewerDatabase(
                f"the ledger's database is of version {done}, this build knows {len(MIGRATIONS)}"
            )
        for version, (name, statements) in enumerate(MIGRATIONS[done:], start=done + 1):
            for statement in statements:
                db.execute(statement)
            db.execute("INSERT INTO migrations (version, name) VALUES (?, ?)", (version, name))
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
