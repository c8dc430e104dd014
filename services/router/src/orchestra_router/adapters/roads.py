"""Lines, lookups and reservations put together: for a lone request, and for a batch."""

from __future__ import annotations

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import OrchestraError

from ..ports import Cache, Ledger, Road, Room
from .gathering import Gathered
from .lone_line import LoneLine
from .shared_line import SharedLine
from .worker_channels import Peers

MOST_AT_ONCE = 256


class OpenRoads:
    """Implements the port Roads. `window`: samples that one batch hands to one worker at a time; `first_s`,
    `later_s`: the longest silence of a worker before and after its first event."""

    def __init__(
        self, peers: Peers, cache: Cache, ledger: Ledger, *, window: int, first_s: float, later_s: float
    ) -> None:
        self._peers = peers
        self._cache = cache
        self._ledger = ledger
        self._window = window
        self._limits = (first_s, later_s)
        self._alone = Road(LoneLine(peers, first_s, later_s), cache.lookup, self._reserve_one, shared=False)

    def alone(self) -> Road:
        return self._alone

    def shared(self, room: Room) -> _SharedRoad:
        line = SharedLine(self._peers, room, self._window, *self._limits)
        return _SharedRoad(line, self._cache, self._ledger)

    async def _reserve_one(self, wish: ledger_pb.ReservationWish) -> entry_pb2.Reservation:
        answer = (await self._ledger.reserve_many([wish]))[0]
        if isinstance(answer, OrchestraError):
            raise answer
        return answer


class _SharedRoad:
    """Of one batch: what its items ask goes together."""

    def __init__(self, line: SharedLine, cache: Cache, ledger: Ledger) -> None:
        self._line = line
        self._lookups: Gathered[cache_pb.LookupRequest, cache_pb.LookupResponse] = Gathered(
            cache.lookup_many, MOST_AT_ONCE
        )
        self._reservations: Gathered[ledger_pb.ReservationWish, entry_pb2.Reservation] = Gathered(
            ledger.reserve_many, MOST_AT_ONCE
        )

    async def __aenter__(self) -> Road:
        return Road(self._line, self._lookups.ask, self._reservations.ask, shared=True)

    async def __aexit__(self, *raised: object) -> None:
        await self._line.close()
        await self._lookups.close()
        await self._reservations.close()
