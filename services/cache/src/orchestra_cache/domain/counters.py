"""What this process has done since it started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from orchestra_cache.domain.draws import Found, Kept, ReplayState, Serving, Wish
from orchestra_cache.domain.misses import Miss


@dataclass(slots=True)
class Counters:
    lookups: int = 0
    draws_wanted: int = 0
    """Asked for where the policy lets stored draws answer."""
    draws_served: int = 0
    replays: int = 0
    draws_stored: int = 0
    saved_nanos: int = 0
    """What the served draws would have cost again, where that is known."""
    served_without_cost: int = 0
    damaged: int = 0
    misses: Counter[Miss] = field(default_factory=Counter)

    def looked_up(self, wish: Wish, found: Found, miss: Miss | None) -> None:
        """A lookup was answered. Replayed samples are no hits of a set: they were served before."""
        self.lookups += 1
        self.damaged += found.seen.damaged
        if found.replay is ReplayState.REPLAYED:
            self.replays += 1
            return
        if found.replay is ReplayState.RUNNING:
            return
        if wish.policy.serving is Serving.SERVE:
            self.draws_wanted += wish.n
        self.draws_served += len(found.draws)
        for draw in found.draws:
            if draw.cost_nanos is None:
                self.served_without_cost += 1
            else:
                self.saved_nanos += draw.cost_nanos
        if miss is not None:
            self.misses[miss] += 1

    def deposited(self, kept: Kept) -> None:
        self.draws_stored += kept.stored
