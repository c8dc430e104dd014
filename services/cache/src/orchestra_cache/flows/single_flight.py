"""Leases, and what a leader sends to its followers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from orchestra_cache.domain.draws import Lease, Replay
from orchestra_cache.ports import Broadcast, Store


class SingleFlight:
    """`lease_ms` is the lease of who names none."""

    def __init__(self, store: Store, broadcast: Broadcast, lease_ms: int) -> None:
        self._store = store
        self._broadcast = broadcast
        self._lease_ms = lease_ms

    async def acquire(self, key: str, owner: str, ms: int | None) -> Lease | str:
        """The lease, longer for who holds it already; or who holds it. Raises Unavailable."""
        return await self._store.acquire(key, owner, ms or self._lease_ms)

    async def release(self, key: str, fence: int, replay: Replay | None) -> bool:
        """Give a lease back, end an open replay record, or both; whether there was anything. Raises
        Unavailable."""
        released = await self._store.release(key, fence) if key else False
        ended = await self._store.end_replay(replay) if replay is not None else False
        return released or ended

    async def publish(self, key: str, fence: int, events: bytes, count: int, last: bool) -> int:
        """Send events on; how many there are now. Raises LeaseLost, Unavailable."""
        return await self._broadcast.publish(key, fence, events, count, last)

    def follow(self, key: str, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        """A leader's events as they come. Raises Unavailable when there is no leader to follow any more."""
        return self._broadcast.follow(key, offset)
