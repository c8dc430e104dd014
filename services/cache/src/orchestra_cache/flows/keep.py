"""Keeping whole draws."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra_cache.domain.counters import Counters
from orchestra_cache.domain.draws import Deposit, Kept
from orchestra_cache.ports import Store
from orchestra_errors import OrchestraError


class Keep:
    def __init__(self, store: Store, counters: Counters) -> None:
        self._store = store
        self._counters = counters

    async def __call__(self, deposits: Sequence[Deposit]) -> list[Kept | OrchestraError]:
        """Keep every deposit, in order; an error stands for one that was refused. Raises Unavailable."""
        kept = await self._store.deposit(deposits)
        for one in kept:
            if isinstance(one, Kept):
                self._counters.deposited(one)
        return kept
