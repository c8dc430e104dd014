"""What the flows need of the world, in the router's words. Every method raises kinds of orchestra_errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra.inference.v1 import inference_service_pb2 as inference_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_diversity import DiversityReport, Sample
from orchestra_errors import OrchestraError

from .domain.targets import ModelFacts, Snapshot, Target

Event = event_pb2.GenerationEvent
Take = Callable[[Event], None]
"""Receives one event at once; never waits."""


@dataclass(slots=True)
class Leg:
    """One call's worth of samples at one target: `generation.sampling.n` of them from
    `hop.first_sample_index` on."""

    target: Target
    generation: request_pb2.GenerationRequest
    hop: request_pb2.HopContext
    abort: Callable[[], None] | None = field(default=None)
    """Set while the leg runs on a line of its own: ends it; reading then raises CancelledError."""

    def stop(self) -> None:
        if self.abort is not None:
            self.abort()


class Line(Protocol):
    """A way to targets, of one call or shared by the items of a batch."""

    def run(self, leg: Leg, take: Take) -> AsyncGenerator[None, None]:
        """Send the leg and hand every event to `take`, in order; yields whenever events were handed over.

        Ends when the target says that all is sent. Closing it cancels the leg at the target.
        """
        ...


class Snapshots(Protocol):
    """The mesh as last heard; never waits for it."""

    def current(self) -> Snapshot: ...


@dataclass(frozen=True, slots=True)
class Named:
    """What a name stands for: catalogue names, and the variant when the name meant particular weights."""

    models: tuple[str, ...]
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that leads nowhere."""

    name: str
    nearest: tuple[str, ...] = ()


class Names(Protocol):
    """The catalogue: what names stand for. Fixed while the process lives."""

    @property
    def models(self) -> Mapping[str, ModelFacts]: ...

    def model(self, name: str) -> Named | Unknown: ...

    def phase(self, name: str) -> str | Unknown: ...


class Prices(Protocol):
    """The price book as last heard."""

    def price(self, provider: str, model: str) -> entry_pb2.Price | None: ...


Lookup = Callable[[cache_pb.LookupRequest], Awaitable[cache_pb.LookupResponse]]
"""Raises Unavailable when no answer came within the budget."""
Reserve = Callable[[ledger_pb.ReservationWish], Awaitable[entry_pb2.Reservation]]
"""Raises BudgetExceeded and its like when there is no room, Unavailable when the ledger does not answer."""


class Cache(Protocol):
    async def lookup(self, request: cache_pb.LookupRequest) -> cache_pb.LookupResponse: ...

    async def lookup_many(
        self, requests: Sequence[cache_pb.LookupRequest]
    ) -> Sequence[cache_pb.LookupResponse | OrchestraError]: ...

    async def store_many(self, requests: Sequence[cache_pb.StoreRequest]) -> None: ...

    async def release(self, tenant: str, request_id: str) -> None: ...


class Ledger(Protocol):
    async def reserve_many(
        self, wishes: Sequence[ledger_pb.ReservationWish]
    ) -> Sequence[entry_pb2.Reservation | OrchestraError]: ...

    async def release(self, reservation_ids: Sequence[str]) -> None: ...

    async def record_feedback(self, request_id: str, feedback: Sequence[entry_pb2.Feedback]) -> int: ...

    async def costs(self, request: ledger_pb.QueryCostsRequest) -> ledger_pb.QueryCostsResponse: ...


class Usage(Protocol):
    """Takes entries for delivery, whatever becomes of the ledger."""

    def record(self, entry: entry_pb2.UsageEntry) -> None: ...


class Diversity(Protocol):
    """Measures away from the event loop."""

    async def measure(self, samples: Sequence[Sample]) -> DiversityReport: ...


@dataclass(frozen=True, slots=True)
class Road:
    """What an item travels on: its own calls, or those that the items of a batch share."""

    line: Line
    lookup: Lookup
    reserve: Reserve
    shared: bool
    """Of a batch: a failed item ends as SampleFailed, and a full target is waited for."""


Room = Callable[[], Awaitable[None]]
"""Waits while whoever receives the events is too slow for more."""


class EmbedLine(Protocol):
    """A way to workers that embed."""

    async def embed(self, target: Target, texts: Sequence[str]) -> inference_pb.EmbedResponse:
        """A vector for each text, in order. Raises kinds, WrongInstance for a worker that has restarted."""
        ...


class Roads(Protocol):
    """Opens roads."""

    def alone(self) -> Road: ...

    def shared(self, room: Room) -> SharedRoad: ...


class SharedRoad(Protocol):
    """A road for many items; leaving the block ends every call that it holds."""

    async def __aenter__(self) -> Road: ...

    async def __aexit__(self, *raised: object) -> None: ...
