"""GenerateBatch at the daemon: one stream to each worker that an item needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import InvalidRequest, OrchestraError
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.rpc.batch import MAX_ID, sample_indexes
from orchestra_inference_node.rpc.forwarding import Forwarding, Stubs, lost_or
from orchestra_rpc import call_stream, pack_status

_READY = 64
_END = None


@dataclass(slots=True)
class _Worker:
    """One worker's part of the call: what is to be sent, and which samples are still owed."""

    resident: Resident
    outgoing: asyncio.Queue[pb.GenerateBatchRequest | None] = field(default_factory=asyncio.Queue)
    owed: dict[str, set[int]] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class ForwardedBatch:
    """One call."""

    def __init__(self, forwarding: Forwarding, stubs: Stubs) -> None:
        self._forwarding = forwarding
        self._stubs = stubs
        self._workers: dict[str, _Worker] = {}
        self._ready: asyncio.Queue[pb.GenerateBatchResponse | None] = asyncio.Queue(_READY)
        self._closing = False

    async def run(
        self, requests: AsyncIterator[pb.GenerateBatchRequest]
    ) -> AsyncGenerator[pb.GenerateBatchResponse]:
        """The workers' messages as they come, until the caller has half-closed and every item has ended."""
        reading = asyncio.create_task(self._read(requests), name="batch")
        try:
            while (answer := await self._ready.get()) is not _END:
                yield answer
            await reading
        finally:
            self._closing = True
            tasks = [reading, *(worker.task for worker in self._workers.values() if worker.task is not None)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[pb.GenerateBatchRequest]) -> None:
        try:
            async for request in requests:
                await self._pass_on(request)
            for worker in self._workers.values():
                worker.outgoing.put_nowait(_END)
            if self._workers:
                await asyncio.wait(
                    [worker.task for worker in self._workers.values() if worker.task is not None]
                )
        finally:
            if not self._closing:
                await self._ready.put(_END)

    async def _pass_on(self, request: pb.GenerateBatchRequest) -> None:
        parts: dict[str, pb.GenerateBatchRequest] = {}
        for item in request.items:
            if not 0 < len(item.correlation_id) <= MAX_ID:
                raise InvalidRequest.of("items.correlation_id", f"must have 1 to {MAX_ID} characters")
            try:
                resident = self._forwarding.resident_for(item.generation, item.hop)
            except OrchestraError as error:
                await self._fail(item.correlation_id, sample_indexes(item), error)
                continue
            worker = self._worker(resident)
            worker.owed[item.correlation_id] = set(sample_indexes(item))
            passed = parts.setdefault(resident.instance_id, pb.GenerateBatchRequest()).items.add()
            passed.CopyFrom(item)
            passed.hop.expected_instance_id = resident.instance_id
        for instance, worker in self._workers.items():
            part = parts.get(instance, pb.GenerateBatchRequest())
            part.cancel_correlation_ids.extend(
                one for one in request.cancel_correlation_ids if one in worker.owed
            )
            if part.items or part.cancel_correlation_ids:
                worker.outgoing.put_nowait(part)

    def _worker(self, resident: Resident) -> _Worker:
        worker = self._workers.get(resident.instance_id)
        if worker is None:
            worker = self._workers[resident.instance_id] = _Worker(resident)
            worker.task = asyncio.create_task(self._follow(worker), name="batch worker")
        return worker

    async def _follow(self, worker: _Worker) -> None:
        async def outgoing() -> AsyncIterator[pb.GenerateBatchRequest]:
            while (part := await worker.outgoing.get()) is not _END:
                yield part

        resident = worker.resident
        try:
            call = self._stubs(resident.address, resident.instance_id).GenerateBatch(outgoing())
            async with call_stream(call) as answers:
                async for answer in answers:
                    for labelled in answer.events:
                        _note(worker.owed, labelled)
                    await self._ready.put(answer)
        except OrchestraError as error:
            told = lost_or(error, resident)
            for label, indexes in list(worker.owed.items()):
                await self._fail(label, indexes, told)

    async def _fail(self, label: str, indexes: set[int] | range, error: OrchestraError) -> None:
        answer = pb.GenerateBatchResponse()
        for index in sorted(indexes):
            event = answer.events.add(correlation_id=label).event
            event.sample_index = index
            event.sample_failed.status.CopyFrom(pack_status(error))
        await self._ready.put(answer)


def _note(owed: dict[str, set[int]], labelled: event_pb2.LabelledEvent) -> None:
    if labelled.event.WhichOneof("event") in ("finished", "sample_failed"):
        left = owed.get(labelled.correlation_id)
        if left is not None:
            left.discard(labelled.event.sample_index)
            if not left:
                del owed[labelled.correlation_id]
