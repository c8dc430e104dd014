"""Serving stored draws, and saying what is known of a request id."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from orchestra_cache.domain.counters import Counters
from orchestra_cache.domain.draws import Found, ReplayState, Wish
from orchestra_cache.domain.misses import Miss, why_short
from orchestra_cache.ports import Store
from orchestra_errors import DeadlineExceeded, OrchestraError, Unavailable
from orchestra_rpc import Background, current_deadline

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, and why it is less than was asked for."""

    found: Found
    miss: Miss | None


class Lookup:
    """`background` owns what has to be taken back after a caller has gone."""

    def __init__(self, store: Store, counters: Counters, background: Background) -> None:
        self._store = store
        self._counters = counters
        self._background = background

    async def __call__(self, wishes: Sequence[Wish]) -> list[Answer | OrchestraError]:
        """Answer every wish, in order. Raises Unavailable, and DeadlineExceeded when nobody waits for the
        answers."""
        try:
            found = await self._store.lookup(wishes)
        except asyncio.CancelledError:
            # the store may have done it all the same
            self._take_back(wishes)
            raise
        deadline = current_deadline()
        if deadline is not None and deadline.expired:
            self._take_back([wish for wish, one in zip(wishes, found, strict=True) if _opened(one)])
            raise DeadlineExceeded("lookup")
        return [self._counted(wish, one) for wish, one in zip(wishes, found, strict=True)]

    def _counted(self, wish: Wish, found: Found | OrchestraError) -> Answer | OrchestraError:
        if isinstance(found, OrchestraError):
            return found
        miss = why_short(wish, found)
        self._counters.looked_up(wish, found, miss)
        return Answer(found, miss)

    def _take_back(self, wishes: Sequence[Wish]) -> None:
        """A caller who does not know that it opened a replay record will never close it: its retry must not
        wait."""
        opened = [wish for wish in wishes if wish.replay is not None]
        if opened:
            self._background.spawn(self._end_replays(opened), name="taking back replay records")

    async def _end_replays(self, wishes: Sequence[Wish]) -> None:
        for wish in wishes:
            if wish.replay is not None:
                try:
                    await self._store.end_replay(wish.replay)
                except Unavailable as error:
                    log.warning("a replay record stays open until it lapses", error=str(error))
                    return


def _opened(found: Found | OrchestraError) -> bool:
    return isinstance(found, Found) and found.replay is ReplayState.NEW
