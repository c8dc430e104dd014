"""Trainers' keys: 256 random bits, of which only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

_PREFIX = "orc"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret; times in microseconds, None where it did not happen."""

    key_id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    budget_ids: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None


def new_secret() -> str:
    """A secret that is shown once."""
    return f"{_PREFIX}_{secrets.token_urlsafe(32)}"


def fingerprint(secret: str) -> bytes:
    """What is kept of a secret. SHA-256 without salt or stretching is enough for 256 random bits: there is
    nothing to guess from, and a lookup stays one index probe."""
    return hashlib.sha256(secret.encode()).digest()
