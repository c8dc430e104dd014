"""Keys between messages and values."""

from __future__ import annotations

from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.domain.api_key import ApiKey
from orchestra_cost_ledger.rpc.moments import given_us, stamp
from orchestra_errors import Violations

_MADE_HERE = ("created_at", "revoked_at", "last_used_at")


def to_new_key(message: entry_pb2.ApiKey, now: int) -> ApiKey:
    """Raises InvalidRequest with every violation."""
    found = Violations("key.")
    found.require(not message.key_id, "key_id", "is made by the ledger")
    found.require(0 < len(message.name) <= 128, "name", "must be 1 to 128 characters")
    found.require(bool(message.tenant), "tenant", "must be set")
    for name in _MADE_HERE:
        found.require(given_us(message, name) is None, name, "is set by the ledger")
    expires_at = given_us(message, "expires_at")
    found.require(expires_at is None or expires_at > now, "expires_at", "must be in the future")
    found.raise_if_any()
    return ApiKey(
        key_id="",
        name=message.name,
        tenant=message.tenant,
        scopes=tuple(message.scopes),
        models=tuple(message.models),
        budget_ids=tuple(message.budget_ids),
        created_at=now,
        expires_at=expires_at,
    )


def from_key(key: ApiKey) -> entry_pb2.ApiKey:
    return entry_pb2.ApiKey(
        key_id=key.key_id,
        name=key.name,
        tenant=key.tenant,
        scopes=key.scopes,
        models=key.models,
        budget_ids=key.budget_ids,
        created_at=stamp(key.created_at),
        expires_at=stamp(key.expires_at),
        revoked_at=stamp(key.revoked_at),
        last_used_at=stamp(key.last_used_at),
    )
