"""Trainers' keys in the database: the hash of a secret, never the secret."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import astuple, fields

from orchestra_cost_ledger.adapters.sqlite import answers
from orchestra_cost_ledger.domain.api_key import ApiKey
from orchestra_cost_ledger.ports import Once
from orchestra_errors import NotFound

_COLUMNS = ", ".join(field.name for field in fields(ApiKey))


def add(db: sqlite3.Connection, key: ApiKey, secret_hash: bytes, once: Once | None) -> tuple[ApiKey, bool]:
    """A repeat gets the key and False: its secret was shown once."""
    if (before := answers.seen(db, once)) is not None:
        return _get(db, before), False
    for budget_id in key.budget_ids:
        if db.execute("SELECT 1 FROM budgets WHERE budget_id = ?", (budget_id,)).fetchone() is None:
            raise NotFound("budget", budget_id)
    values = [json.dumps(value) if isinstance(value, tuple) else value for value in astuple(key)]
    db.execute(
        f"INSERT INTO api_keys ({_COLUMNS}, secret_hash) VALUES ({', '.join('?' * (len(values) + 1))})",
        (*values, secret_hash),
    )
    answers.keep(db, once, key.key_id)
    return key, True


def read(db: sqlite3.Connection, tenant: str, limit: int, offset: int) -> list[ApiKey]:
    """By creation; an empty tenant means all."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM api_keys WHERE :tenant = '' OR tenant = :tenant"
        " ORDER BY created_at, key_id LIMIT :limit OFFSET :offset",
        {"tenant": tenant, "limit": limit, "offset": offset},
    )
    return [_key(row) for row in rows.fetchall()]


def revoke(db: sqlite3.Connection, key_id: str, now: int) -> ApiKey:
    """The first time stays."""
    db.execute("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE key_id = ?", (now, key_id))
    return _get(db, key_id)


def _get(db: sqlite3.Connection, key_id: str) -> ApiKey:
    row = db.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE key_id = ?", (key_id,)).fetchone()
    if row is None:
        raise NotFound("key", key_id)
    return _key(row)


def _key(row: tuple[object, ...]) -> ApiKey:
    values = dict(zip((field.name for field in fields(ApiKey)), row, strict=True))
    for name in ("scopes", "models", "budget_ids"):
        values[name] = tuple(json.loads(str(values[name])))
    return ApiKey(**values)  # type: ignore[arg-type]
