"""The store as the flows see it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Self

from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.adapters.sqlite import (
    budgets,
    entries,
    keys,
    leases,
    prices,
    reports,
    reservations,
    traffic,
)
from orchestra_cost_ledger.adapters.sqlite.budgets import KnownBudgets
from orchestra_cost_ledger.adapters.sqlite.connection import Readers, Writer
from orchestra_cost_ledger.adapters.sqlite.seeds import seed
from orchestra_cost_ledger.domain.api_key import ApiKey
from orchestra_cost_ledger.domain.budget import Budget, Lease, Standing
from orchestra_cost_ledger.domain.comparison import Traffic, TrafficQuery
from orchestra_cost_ledger.domain.entry import Entry, Feedback
from orchestra_cost_ledger.domain.report import CostQuery, CostSum
from orchestra_cost_ledger.domain.reservation import Outcome, Wish
from orchestra_cost_ledger.ports import Once, PriceQuery, Recorded


class SqliteStore:
    """`LedgerStore` in one file. Several processes may share the file; each writes when the others do not."""

    def __init__(self, writer: Writer, readers: Readers, known: KnownBudgets) -> None:
        self._writer = writer
        self._readers = readers
        self._known = known

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Create or migrate the file. Raises sqlite3.Error, OSError and NewerDatabase."""
        path.parent.mkdir(parents=True, exist_ok=True)
        known = KnownBudgets()
        return cls(await asyncio.to_thread(Writer, path, known.begin, known.forget), Readers(path), known)

    async def ready(self) -> bool:
        return await self._writer.run(lambda db: bool(db.execute("SELECT 1").fetchone()))

    async def close(self) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._readers.close)

    async def record(self, new: Sequence[Entry], feedback: Sequence[Feedback]) -> Recorded:
        return await self._writer.run(lambda db: entries.record(db, self._known, new, feedback))

    async def reserve(self, wishes: Sequence[Wish], now: int) -> list[Outcome]:
        return await self._writer.run(lambda db: reservations.reserve(db, self._known, wishes, now))

    async def release(self, reservation_ids: Sequence[str]) -> int:
        return await self._writer.run(partial(reservations.release, reservation_ids=reservation_ids))

    async def lease(self, lease: Lease, now: int, once: Once | None) -> Lease:
        return await self._writer.run(lambda db: leases.lease(db, self._known, lease, now, once))

    async def return_lease(self, lease_id: str, spent_nanos: int, now: int) -> int:
        return await self._writer.run(lambda db: leases.give_back(db, lease_id, spent_nanos, now))

    async def query(self, query: CostQuery) -> list[CostSum]:
        return await self._readers.run(partial(reports.query, wanted=query))

    async def local_traffic(self, query: TrafficQuery) -> list[Traffic]:
        return await self._readers.run(partial(traffic.local, wanted=query))

    async def create_budget(self, budget: Budget, now: int, once: Once | None) -> Standing:
        return await self._writer.run(lambda db: budgets.create(db, self._known, budget, now, once))

    async def update_budget(
        self, budget: Budget, fields: Sequence[str], now: int, once: Once | None
    ) -> Standing:
        return await self._writer.run(lambda db: budgets.update(db, self._known, budget, fields, now, once))

    async def budget(self, budget_id: str, now: int) -> Standing:
        return await self._readers.run(lambda db: budgets.read(db, budget_id, now))

    async def budgets(self, after_name: str, limit: int, now: int) -> list[Standing]:
        return await self._readers.run(lambda db: budgets.after(db, after_name, limit, now))

    async def seed(
        self, wanted: Sequence[Budget], rows: Sequence[entry_pb2.Price], now: int
    ) -> tuple[int, int]:
        return await self._writer.run(lambda db: seed(db, self._known, wanted, rows, now))

    async def add_price(self, price: entry_pb2.Price, once: Once | None) -> entry_pb2.Price:
        return await self._writer.run(partial(prices.add, price=price, once=once))

    async def prices(self, query: PriceQuery) -> list[entry_pb2.Price]:
        return await self._readers.run(partial(prices.read, query=query))

    async def add_key(self, key: ApiKey, secret_hash: bytes, once: Once | None) -> tuple[ApiKey, bool]:
        return await self._writer.run(lambda db: keys.add(db, key, secret_hash, once))

    async def keys(self, tenant: str, limit: int, offset: int) -> list[ApiKey]:
        return await self._readers.run(lambda db: keys.read(db, tenant, limit, offset))

    async def revoke_key(self, key_id: str, now: int) -> ApiKey:
        return await self._writer.run(lambda db: keys.revoke(db, key_id, now))
