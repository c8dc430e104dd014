"""The state that survives: one value, changed by functions, durable before anyone acts on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestra_model_manager.ports import State, StateStore


class Kept:
    """Changes are serialised; `now` is always what is durable."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._state = store.load()
        self._lock = asyncio.Lock()

    @property
    def now(self) -> State:
        return self._state

    async def change(self, by: Callable[[State], State]) -> State:
        """Apply and make durable; nobody sees the new state before it is."""
        async with self._lock:
            changed = by(self._state)
            if changed != self._state:
                await self._store.save(changed)
                self._state = changed
            return changed
