"""What the flows need of the store. Every method may raise Unavailable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from orchestra_cache.domain.draws import (
    Deposit,
    Forgetting,
    Forgotten,
    Found,
    Holdings,
    Kept,
    Lease,
    Replay,
    Wish,
)
from orchestra_errors import OrchestraError


class Store(Protocol):
    """Sample sets, replay records and leases."""

    async def lookup(self, wishes: Sequence[Wish]) -> list[Found | OrchestraError]:
        """Answer each wish, in order and in one round trip. AlreadyExists stands where a request id had
        another payload. Draws that were served to a rollout are never served to it again, whatever becomes of
        the answer."""
        ...

    async def deposit(self, deposits: Sequence[Deposit]) -> list[Kept | OrchestraError]:
        """Keep each deposit whole or not at all, in one round trip. AlreadyExists or LeaseLost stand where
        one was refused."""
        ...

    async def end_replay(self, replay: Replay) -> bool:
        """End an open replay record (of this token alone, where it has one). False: there was none."""
        ...

    async def acquire(self, key: str, owner: str, ms: int) -> Lease | str:
        """The lease, or who holds it."""
        ...

    async def release(self, key: str, fence: int) -> bool:
        """False: it was not held under this fence."""
        ...

    async def forget(self, what: Forgetting) -> Forgotten: ...

    async def holdings(self) -> Holdings:
        """Counts what is stored, by looking at every set: the cost grows with the store."""
        ...


class Broadcast(Protocol):
    """The events of a leader, for followers on any replica."""

    async def publish(self, key: str, fence: int, events: bytes, count: int, last: bool) -> int:
        """Append `count` events; gives how many there are now. Raises LeaseLost once the lease has passed
        on."""
        ...

    def follow(self, key: str, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        """Groups of events that hold `offset` or come after it, each with the offset of its first event; ends
        after the last.

        Raises Unavailable when nobody leads, or another leader took over after the first event.
        """
        ...
