"""Many requests on one stream, packed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra.generation.v1.provenance_pb2 import Provenance
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import Cancelled, InvalidRequest, OrchestraError
from orchestra_inference_node.flows.request import Failed, RequestFlow, Sample
from orchestra_inference_node.flows.sample import Ended
from orchestra_inference_node.rpc.events import Events
from orchestra_inference_node.rpc.jobs import Jobs
from orchestra_inference_node.rpc.naming import of_generation
from orchestra_rpc import pack_status

MAX_ID = 128
# events that wait to be packed; behind them ready tokens merge
_READY = 256
# events in one message
_PACKED = 512
# items that were read and have not ended; the caller is read no further
_OPEN = 4096

Event = event_pb2.LabelledEvent


class WorkerBatch:
    """One GenerateBatch call."""

    def __init__(
        self, jobs: Jobs, flow: RequestFlow, served: Provenance, deadline: float | None, trace_id: str
    ) -> None:
        self._jobs = jobs
        self._flow = flow
        self._served = served
        self._deadline = deadline
        self._trace_id = trace_id
        self._ready: asyncio.Queue[Event | None] = asyncio.Queue(_READY)
        self._items: dict[str, asyncio.Task[None]] = {}
        self._open = asyncio.Semaphore(_OPEN)
        self._closing = False

    async def run(
        self, requests: AsyncIterator[pb.GenerateBatchRequest]
    ) -> AsyncGenerator[pb.GenerateBatchResponse]:
        """Answers until the caller has half-closed and every item has ended.

        Events that are ready share a message.
        """
        reading = asyncio.create_task(self._read(requests), name="batch")
        try:
            last = False
            while not last:
                packed = [await self._ready.get()]
                while len(packed) < _PACKED and not self._ready.empty():
                    packed.append(self._ready.get_nowait())
                events = [event for event in packed if event is not None]
                last = len(events) < len(packed)
                if events:
                    yield pb.GenerateBatchResponse(events=events)
            await reading
        finally:
            self._closing = True
            tasks = [reading, *self._items.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[pb.GenerateBatchRequest]) -> None:
        try:
            async for request in requests:
                for item in request.items:
                    await self._open.acquire()
                    self._start(item)
                for label in request.cancel_correlation_ids:
                    if (task := self._items.get(label)) is not None:
                        task.cancel()
            if self._items:
                await asyncio.wait(self._items.values())
        finally:
            if not self._closing:
                await self._ready.put(None)

    def _start(self, item: request_pb2.BatchItem) -> None:
        label = item.correlation_id
        if not 0 < len(label) <= MAX_ID:
            # nothing could tell the caller which item it was
            raise InvalidRequest.of("items.correlation_id", f"must have 1 to {MAX_ID} characters")
        if label in self._items:
            raise InvalidRequest.of("items.correlation_id", f"{label!r} is running already")
        task = asyncio.create_task(self._item(item), name=f"item {label}")
        self._items[label] = task
        task.add_done_callback(lambda _: self._ended(label))

    def _ended(self, label: str) -> None:
        del self._items[label]
        self._open.release()

    async def _item(self, item: request_pb2.BatchItem) -> None:
        events = Events(self._served, item.generation, item.hop, self._trace_id, seeded=self._jobs.seeded)
        unfinished: dict[int, Sample | None] = dict.fromkeys(sample_indexes(item))
        try:
            job = await self._jobs.make(item.generation, item.hop, self._deadline, one_of_many=True)
            unfinished = {sample.index: sample for sample in job.samples}
            await self._flow.samples.slots.room()
            async with aclosing(self._flow.run(job)) as happenings:
                async for sample, what in happenings:
                    if isinstance(what, Ended | Failed):
                        del unfinished[sample.index]
                    await self._ready.put(
                        Event(correlation_id=item.correlation_id, event=events.of(sample, what))
                    )
        except asyncio.CancelledError:
            if self._closing:
                raise
            await self._fail(item, unfinished, events, Cancelled(f"item {item.correlation_id}"))
        except OrchestraError as error:
            await self._fail(item, unfinished, events, error)

    async def _fail(
        self,
        item: request_pb2.BatchItem,
        unfinished: dict[int, Sample | None],
        events: Events,
        error: OrchestraError,
    ) -> None:
        """End every sample that has not ended, whether or not it began."""
        for index, sample in unfinished.items():
            if sample is not None:
                event = events.of(sample, Failed(error, sample.spent))
            else:
                event = event_pb2.GenerationEvent(sample_index=index)
                event.sample_failed.status.CopyFrom(pack_status(of_generation(error)))
            await self._ready.put(Event(correlation_id=item.correlation_id, event=event))


def sample_indexes(item: request_pb2.BatchItem) -> range:
    """The samples that the caller waits for; one where it asks for an impossible number."""
    first = max(0, item.hop.first_sample_index)
    sampling = item.generation.sampling
    n = sampling.n if sampling.HasField("n") and 1 <= sampling.n <= 4096 else 1
    return range(first, first + n)
