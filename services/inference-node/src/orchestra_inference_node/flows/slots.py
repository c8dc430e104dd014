"""Waiting for a slot of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestra_errors import NoCapacity
from orchestra_inference_node.domain.admission import Admission, Rank, Ticket

RETRY_S = 1.0


class Place:
    """A slot, or the wait for one. `leave` gives either back and may be called twice."""

    def __init__(self, slots: Slots, ticket: Ticket) -> None:
        self._slots = slots
        self.ticket = ticket
        self.granted = asyncio.Event()
        if ticket.slot:
            self.granted.set()

    @property
    def ahead(self) -> int:
        """How many wait in front."""
        return self._slots.admission.ahead_of(self.ticket)

    async def wait(self, seconds: float) -> bool:
        """Whether the slot is there; waits at most `seconds` for it."""
        try:
            async with asyncio.timeout(seconds):
                await self.granted.wait()
        except TimeoutError:
            return False
        return True

    def leave(self) -> None:
        self._slots.leave(self)


class Slots:
    """The admission queue with someone to wake. `changed` is told after every change."""

    def __init__(self, model: str, admission: Admission, changed: Callable[[], None]) -> None:
        self.admission = admission
        self.model = model
        self._changed = changed
        self._places: dict[int, Place] = {}
        self._room = asyncio.Event()

    def enter(self, rank: Rank, deadline: float | None, *, in_already: bool = False) -> Place:
        """A place. Raises NoCapacity when every slot and every place in the queue is taken."""
        ticket = self.admission.enter(rank, deadline, in_already=in_already)
        if ticket is None:
            raise NoCapacity(self.model, RETRY_S)
        return self._place(ticket)

    def spare(self, rank: Rank, most: int) -> list[Place]:
        """Up to `most` further slots, of those that are free and that nobody waits for."""
        places: list[Place] = []
        while len(places) < most and self.admission.slots_free and not self.admission.queued:
            ticket = self.admission.enter(rank, None, in_already=True)
            assert ticket is not None
            places.append(self._place(ticket))
        return places

    def _place(self, ticket: Ticket) -> Place:
        place = Place(self, ticket)
        self._places[ticket.arrival] = place
        self._changed()
        return place

    def leave(self, place: Place) -> None:
        if self._places.pop(place.ticket.arrival, None) is None:
            return
        following = self.admission.leave(place.ticket)
        if following is not None:
            self._places[following.arrival].granted.set()
        self._room.set()
        self._changed()

    async def room(self) -> None:
        """Return when a new request would be taken."""
        while not self.admission.has_room:
            self._room.clear()
            await self._room.wait()
