"""Who may generate now, who waits, and who is refused."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import IntEnum


class Rank(IntEnum):
    """Order of service: the smaller goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(order=True, slots=True)
class Ticket:
    """A place in the queue: by rank, then by deadline (none is last), then by arrival."""

    rank: Rank
    deadline: float
    arrival: int
    slot: bool = field(default=False, compare=False)
    """Whether it holds a slot."""
    left: bool = field(default=False, compare=False)
    """Whether it gave up waiting or gave its slot back."""


class Admission:
    """At most `slots` tickets hold a slot; at most `queue_limit` wait, apart from those whose request is
    in already.

    Engines queue without bound and cannot cancel what waits in them, so nothing waits there.
    """

    def __init__(self, slots: int, queue_limit: int) -> None:
        if slots < 1 or queue_limit < 0:
            raise ValueError("needs at least one slot and a queue limit of 0 or more")
        self.slots = slots
        self.queue_limit = queue_limit
        self._held = 0
        self._waiting: list[Ticket] = []
        self._gone = 0
        self._arrivals = 0

    @property
    def slots_free(self) -> int:
        return self.slots - self._held

    @property
    def queued(self) -> int:
        return len(self._waiting) - self._gone

    @property
    def has_room(self) -> bool:
        """Whether a new request would be taken."""
        return self.slots_free > 0 or self.queued < self.queue_limit

    def enter(self, rank: Rank, deadline: float | None, *, in_already: bool = False) -> Ticket | None:
        """A ticket that holds a slot or waits; None when there is room for neither.

        `in_already` is for the later samples of a request that was admitted: the limit is on requests.
        """
        if not (in_already or self.has_room):
            return None
        self._arrivals += 1
        ticket = Ticket(rank, float("inf") if deadline is None else deadline, self._arrivals)
        if self.slots_free and not self.queued:
            ticket.slot = True
            self._held += 1
        else:
            heapq.heappush(self._waiting, ticket)
        return ticket

    def leave(self, ticket: Ticket) -> Ticket | None:
        """Give the slot back or stop waiting; the ticket that holds a slot because of it, if any."""
        if ticket.left:
            return None
        ticket.left = True
        if not ticket.slot:
            self._gone += 1
            return None
        self._held -= 1
        while self._waiting:
            first = heapq.heappop(self._waiting)
            if first.left:
                self._gone -= 1
                continue
            first.slot = True
            self._held += 1
            return first
        return None

    def ahead_of_new(self, rank: Rank, deadline: float | None) -> int:
        """How many would wait in front of a request that came now."""
        new = Ticket(rank, float("inf") if deadline is None else deadline, self._arrivals + 1)
        return self.ahead_of(new)

    def ahead_of(self, ticket: Ticket) -> int:
        """How many wait in front of a waiting ticket."""
        return sum(1 for other in self._waiting if other < ticket and not other.left)
