"""Reservations: priced here, admitted by the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestra_accounting import worst_case
from orchestra_cost_ledger.domain.entry import Dimensions
from orchestra_cost_ledger.domain.reservation import Outcome, Wish
from orchestra_cost_ledger.flows.clock import Clock
from orchestra_cost_ledger.flows.pricing import Prices
from orchestra_cost_ledger.ports import LedgerStore


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish as it comes in: either `max_nanos` or both numbers of tokens; `hold_us` None is the default."""

    attempt_id: str
    dimensions: Dimensions
    model: str
    max_nanos: int | None
    prompt_tokens: int
    max_completion_tokens: int
    hold_us: int | None
    batch_job: bool


class Reserve:
    """Each wish for itself, in their order."""

    def __init__(self, store: LedgerStore, prices: Prices, clock: Clock, hold_us: int) -> None:
        self._store = store
        self._prices = prices
        self._clock = clock
        self._hold_us = hold_us

    async def __call__(self, asked: Sequence[Asked]) -> list[Outcome]:
        book = await self._prices.book()
        now = self._clock()
        wishes = []
        for one in asked:
            price = book.lookup(one.dimensions.provider, one.model)
            nanos = one.max_nanos
            if nanos is None:
                nanos = worst_case(
                    price, one.prompt_tokens, one.max_completion_tokens, batch_job=one.batch_job
                )
            version = price.price_version if price is not None else ""
            expires_at = now + (self._hold_us if one.hold_us is None else one.hold_us)
            wishes.append(Wish(one.attempt_id, one.dimensions, one.model, nanos, expires_at, version))
        return await self._store.reserve(wishes, now)
