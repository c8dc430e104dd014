"""The price book as last heard from the cost-ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.price_book import PriceBook
from orchestra_errors import OrchestraError
from orchestra_rpc import call_unary

if TYPE_CHECKING:
    from orchestra.ledger.v1.cost_ledger_service_pb2_grpc import CostLedgerServiceAsyncStub

log = structlog.get_logger()
_PAGE = 1000
_BACK_OFF_S = 1.0
_CALL_S = 5.0


class PriceFeed:
    """Asks for the prices that hold now and then, and keeps the last ones while the ledger is gone."""

    def __init__(self, stub: CostLedgerServiceAsyncStub, every_s: float) -> None:
        self._stub = stub
        self._every_s = every_s
        self._book = PriceBook()
        self.heard = asyncio.Event()
        """Set once prices have come."""

    def price(self, provider: str, model: str) -> entry_pb2.Price | None:
        """The row that holds now; None: the price is not known, or nothing was heard yet."""
        return self._book.lookup(provider, model)

    async def watch(self) -> None:
        """Run for ever."""
        while True:
            try:
                self._book = PriceBook(await self._all())
                self.heard.set()
                pause = self._every_s
            except OrchestraError as error:
                log.info("prices not heard, the last ones stay", reason=error.reason)
                pause = min(_BACK_OFF_S, self._every_s)
            await asyncio.sleep(pause)

    async def _all(self) -> list[entry_pb2.Price]:
        prices: list[entry_pb2.Price] = []
        token = ""
        while True:
            request = pb.ListPricesRequest(page_size=_PAGE, page_token=token)
            answer = await call_unary(self._stub.ListPrices(request, timeout=_CALL_S))
            prices += answer.prices
            token = answer.next_page_token
            if not token:
                return prices
