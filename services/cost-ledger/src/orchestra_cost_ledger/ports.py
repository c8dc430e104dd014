"""What the flows need of a store, in the ledger's own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.domain.api_key import ApiKey
from orchestra_cost_ledger.domain.budget import Alert, Budget, Lease, Standing
from orchestra_cost_ledger.domain.comparison import Traffic, TrafficQuery
from orchestra_cost_ledger.domain.entry import Entry, Feedback
from orchestra_cost_ledger.domain.report import CostQuery, CostSum
from orchestra_cost_ledger.domain.reservation import Outcome, Wish


@dataclass(frozen=True, slots=True)
class Once:
    """A caller's request id and the digest of its payload.

    A store that has seen both answers with what came of them then (as it stands now) and changes nothing; the
    same id with another digest is AlreadyExists.
    """

    request_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many entries are new and how many were there already."""

    recorded: int
    duplicates: int
    feedback: int
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """Rows that held at `at`, or with `at` None every row ever; empty fields match everything."""

    at: int | None
    provider: str
    model: str
    limit: int
    offset: int


class LedgerStore(Protocol):
    """Durable when a method returns; each call happens whole or not at all. Times in microseconds, money in
    nano-dollars. A store that cannot be written to raises Unavailable."""

    async def ready(self) -> bool: ...

    async def close(self) -> None: ...

    async def record(self, entries: Sequence[Entry], feedback: Sequence[Feedback]) -> Recorded:
        """Append by attempt id, charge budgets, and close or keep the reservations that the entries name."""
        ...

    async def reserve(self, wishes: Sequence[Wish], now: int) -> list[Outcome]:
        """Each wish for itself, in one conditional step over its budgets; a repeat gets its first
        reservation.
        """
        ...

    async def release(self, reservation_ids: Sequence[str]) -> int: ...

    async def lease(self, lease: Lease, now: int, once: Once | None) -> Lease:
        """Raises NotFound, BudgetExceeded, FailedPrecondition (frozen)."""
        ...

    async def return_lease(self, lease_id: str, spent_nanos: int, now: int) -> int:
        """What of it goes back, in nano-dollars. Raises NotFound."""
        ...

    async def query(self, query: CostQuery) -> list[CostSum]: ...

    async def local_traffic(self, query: TrafficQuery) -> list[Traffic]:
        """In the order of length; classes without attempts are absent."""
        ...

    async def create_budget(self, budget: Budget, now: int, once: Once | None) -> Standing:
        """What matching entries spent before in its current period counts. Raises AlreadyExists by name."""
        ...

    async def update_budget(
        self, budget: Budget, fields: Sequence[str], now: int, once: Once | None
    ) -> Standing:
        """Take these fields of `budget` over. Raises NotFound, AlreadyExists."""
        ...

    async def budget(self, budget_id: str, now: int) -> Standing:
        """Raises NotFound."""
        ...

    async def budgets(self, after_name: str, limit: int, now: int) -> list[Standing]:
        """In the order of their names."""
        ...

    async def seed(
        self, budgets: Sequence[Budget], prices: Sequence[entry_pb2.Price], now: int
    ) -> tuple[int, int]:
        """Bring in what the configuration says, as far as it says something new since the last start; what
        was set by hand meanwhile stays. Returns how many budgets and prices changed."""
        ...

    async def add_price(self, price: entry_pb2.Price, once: Once | None) -> entry_pb2.Price: ...

    async def prices(self, query: PriceQuery) -> list[entry_pb2.Price]:
        """By provider, model and date, newest first."""
        ...

    async def add_key(self, key: ApiKey, secret_hash: bytes, once: Once | None) -> tuple[ApiKey, bool]:
        """The key, and whether it is new. Raises NotFound for a budget that it names."""
        ...

    async def keys(self, tenant: str, limit: int, offset: int) -> list[ApiKey]:
        """By creation."""
        ...

    async def revoke_key(self, key_id: str, now: int) -> ApiKey:
        """Idempotent: the first time stays. Raises NotFound."""
        ...
