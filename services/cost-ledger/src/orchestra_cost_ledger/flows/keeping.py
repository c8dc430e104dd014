"""Budgets, leases and keys: what people and routers keep in the ledger."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import structlog

from orchestra_cost_ledger.domain.api_key import ApiKey, fingerprint, new_secret
from orchestra_cost_ledger.domain.budget import Budget, Lease, Standing
from orchestra_cost_ledger.domain.forecast import Forecast, extend
from orchestra_cost_ledger.flows.clock import Clock
from orchestra_cost_ledger.ports import LedgerStore, Once
from orchestra_errors import FailedPrecondition

log = structlog.get_logger()


class Budgets:
    """Their life, and the room that is leased of them."""

    def __init__(self, store: LedgerStore, clock: Clock, lease_us: int) -> None:
        self._store = store
        self._clock = clock
        self._lease_us = lease_us

    async def create(self, budget: Budget, once: Once | None) -> Standing:
        now = self._clock()
        named = replace(budget, budget_id=uuid.uuid4().hex, created_at=now)
        return await self._store.create_budget(named, now, once)

    async def get(self, budget_id: str) -> Standing:
        return await self._store.budget(budget_id, self._clock())

    async def list(self, after_name: str, limit: int) -> Sequence[Standing]:
        return await self._store.budgets(after_name, limit, self._clock())

    async def update(self, budget: Budget, fields: Sequence[str], once: Once | None) -> Standing:
        standing = await self._store.update_budget(budget, fields, self._clock(), once)
        log.info("budget changed", budget=standing.budget.name, fields=list(fields))
        return standing

    async def lease(
        self, budget_id: str, holder: str, nanos: int, hold_us: int | None, once: Once | None
    ) -> Lease:
        now = self._clock()
        expires_at = now + (self._lease_us if hold_us is None else hold_us)
        wanted = Lease(uuid.uuid4().hex, budget_id, holder, nanos, expires_at)
        return await self._store.lease(wanted, now, once)

    async def give_back(self, lease_id: str, spent_nanos: int) -> int:
        return await self._store.return_lease(lease_id, spent_nanos, self._clock())

    async def forecast(self, budget_id: str) -> Forecast:
        """Raises NotFound, and FailedPrecondition for a budget whose period has no end."""
        now = self._clock()
        standing = await self._store.budget(budget_id, now)
        if (found := extend(standing, now)) is None:
            raise FailedPrecondition(
                f"budget {standing.budget.name!r}", "is for a lifetime: its period has no end"
            )
        return found


class Keys:
    """Trainers' keys."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, key: ApiKey, once: Once | None) -> tuple[ApiKey, str]:
        """The key and its secret; a repeat gets the key and an empty secret, since that was shown once."""
        secret = new_secret()
        named = replace(key, key_id=uuid.uuid4().hex, created_at=self._clock())
        made, new = await self._store.add_key(named, fingerprint(secret), once)
        if new:
            log.info("key created", key_id=made.key_id, tenant=made.tenant)
        return made, secret if new else ""

    async def list(self, tenant: str, limit: int, offset: int) -> Sequence[ApiKey]:
        return await self._store.keys(tenant, limit, offset)

    async def revoke(self, key_id: str) -> ApiKey:
        key = await self._store.revoke_key(key_id, self._clock())
        log.info("key revoked", key_id=key.key_id, tenant=key.tenant)
        return key
