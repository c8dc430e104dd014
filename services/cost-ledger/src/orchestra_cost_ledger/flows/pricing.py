"""The price book as it holds now."""

from __future__ import annotations

from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting import PriceBook
from orchestra_cost_ledger.domain.moment import SECOND
from orchestra_cost_ledger.flows.clock import Clock
from orchestra_cost_ledger.ports import LedgerStore, Once, PriceQuery

_FRESH_US = 5 * SECOND
_PAGE = 5_000


class Prices:
    """Rows by query, and a book for reservations that is never older than five seconds (another replica may
    have added a row)."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._book = PriceBook()
        self._read_at = -_FRESH_US

    async def book(self) -> PriceBook:
        """Every row ever, for lookups at any time."""
        if self._clock() - self._read_at >= _FRESH_US:
            read_at = self._clock()
            rows: list[entry_pb2.Price] = []
            while len(page := await self.list(PriceQuery(None, "", "", _PAGE, len(rows)))) == _PAGE:
                rows += page
            # newest first in the store; in a book the later of two rows from one moment counts
            self._book = PriceBook(reversed(rows + page))
            self._read_at = read_at
        return self._book

    async def now(self) -> list[entry_pb2.Price]:
        """The rows that hold."""
        at, rows = self._clock(), list[entry_pb2.Price]()
        while len(page := await self.list(PriceQuery(at, "", "", _PAGE, len(rows)))) == _PAGE:
            rows += page
        return rows + page

    async def list(self, query: PriceQuery) -> list[entry_pb2.Price]:
        return await self._store.prices(query)

    async def add(self, price: entry_pb2.Price, once: Once | None) -> entry_pb2.Price:
        """A row without a date counts from now on."""
        if not price.HasField("valid_from"):
            price.valid_from.FromMicroseconds(self._clock())
        added = await self._store.add_price(price, once)
        self._read_at = -_FRESH_US
        return added
