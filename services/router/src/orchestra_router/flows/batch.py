"""Many requests on one stream: taken as they come, answered as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from orchestra.generation.v1 import request_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import Cancelled, InvalidRequest, OrchestraError
from orchestra_rpc import Background, current_deadline

from ..ports import Event, Road, Roads
from .admission import Admission
from .intake import Intake
from .item import Item
from .journey import Guide, Journey
from .outbox import Outbox
from .stamping import failed_event
from .travelling import set_out

MAX_LABEL = 128


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message of the caller: new items, and labels of items to end."""

    items: Sequence[request_pb2.BatchItem]
    cancelled: Sequence[str]


def labelled(message: pb.GenerateBatchResponse, label: str, event: Event) -> Event:
    """Put a copy of the event into the message, under its label."""
    added = message.events.add(correlation_id=label)
    added.event.CopyFrom(event)
    return added.event


class BatchFlow:
    """A failed item fails alone. At most `most_items` are in flight; then nothing more is read."""

    def __init__(
        self,
        intake: Intake,
        roads: Roads,
        guide: Guide,
        admission: Admission,
        most_items: int,
        most_samples: int,
    ) -> None:
        self._intake = intake
        self._roads = roads
        self._guide = guide
        self._admission = admission
        self._most_items = most_items
        self._most_samples = most_samples

    async def __call__(
        self, arriving: AsyncIterator[Arrived]
    ) -> AsyncGenerator[pb.GenerateBatchResponse, None]:
        with self._admission.hold():
            outbox = Outbox(pb.GenerateBatchResponse, labelled)
            async with self._roads.shared(outbox.room) as road, Background() as tasks:
                batch = _Batch(self, outbox, road, tasks)
                tasks.spawn(batch.read(arriving), name="batch reader")
                async with aclosing(outbox.packets()) as packets:
                    async for packet in packets:
                        yield packet

    def journey(
        self, item: Item, road: Road, outbox: Outbox[pb.GenerateBatchResponse], label: str
    ) -> Journey:
        return Journey(item, road, lambda event: outbox.put(label, event), self._guide)

    def item(self, generation: request_pb2.GenerationRequest) -> Item:
        return self._intake.item(generation)

    @property
    def most_items(self) -> int:
        return self._most_items

    def samples_of(self, generation: request_pb2.GenerationRequest) -> int:
        """How many samples a refused item would have had, within reason."""
        n = generation.sampling.n if generation.sampling.HasField("n") else 1
        return n if 1 <= n <= self._most_samples else 1


class _Batch:
    """One call of GenerateBatch."""

    def __init__(
        self, flow: BatchFlow, outbox: Outbox[pb.GenerateBatchResponse], road: Road, tasks: Background
    ) -> None:
        self._flow = flow
        self._outbox = outbox
        self._road = road
        self._tasks = tasks
        self._deadline = current_deadline()
        self._items: dict[str, Item] = {}
        self._seen: set[str] = set()
        self._places = asyncio.Semaphore(flow.most_items)
        self._reading = True

    async def read(self, arriving: AsyncIterator[Arrived]) -> None:
        """Take items until the caller half-closes; a full batch stops the reading."""
        try:
            async for message in arriving:
                for label in message.cancelled:
                    if (item := self._items.get(label)) is not None:
                        item.stop(Cancelled(f"item {label!r}"))
                for entry in message.items:
                    await self._places.acquire()
                    self._begin(entry)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._outbox.close(error)
            raise
        self._reading = False
        self._close_when_done()

    def _begin(self, entry: request_pb2.BatchItem) -> None:
        label = entry.correlation_id
        try:
            self._check(label)
            item = self._flow.item(entry.generation)
        except OrchestraError as error:
            for index in range(self._flow.samples_of(entry.generation)):
                self._outbox.put(label, failed_event(index, error))
            self._places.release()
            return
        self._items[label] = item
        journey = self._flow.journey(item, self._road, self._outbox, label)
        set_out(journey, item, self._tasks, self._deadline, lambda mistake: self._ended(label, mistake))

    def _check(self, label: str) -> None:
        if not label or len(label) > MAX_LABEL:
            raise InvalidRequest.of("items.correlation_id", f"must have 1 to {MAX_LABEL} characters")
        if label in self._seen:
            raise InvalidRequest.of("items.correlation_id", f"{label!r} is on this stream already")
        self._seen.add(label)

    def _ended(self, label: str, mistake: BaseException | None) -> None:
        del self._items[label]
        self._places.release()
        if mistake is not None:
            self._outbox.close(mistake)
        self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._reading and not self._items:
            self._outbox.close()
