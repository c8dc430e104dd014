"""What is stored, and forgetting it."""

from __future__ import annotations

import asyncio
import time

import structlog

from orchestra_cache.domain.draws import Forgetting, Forgotten, Holdings
from orchestra_cache.ports import Store

FRESH_S = 1.0
log = structlog.get_logger()


class Inventory:
    """Counting looks at every set, so those who ask together share one count."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._seen: tuple[float, Holdings] | None = None

    async def holdings(self) -> Holdings:
        """As of the last second. Raises Unavailable."""
        async with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > FRESH_S:
                self._seen = (time.monotonic(), await self._store.holdings())
            return self._seen[1]

    async def forget(self, what: Forgetting) -> Forgotten:
        """Forget all that fits. Raises Unavailable; what was forgotten until then stays so."""
        gone = await self._store.forget(what)
        self._seen = None
        log.info(
            "draws forgotten", sets=gone.sets, samples=gone.samples, model=what.model, tenant=what.tenant
        )
        return gone
