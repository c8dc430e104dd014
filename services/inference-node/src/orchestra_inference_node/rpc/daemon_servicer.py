"""InferenceService of the daemon: the host, and the way to its workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_errors import Draining, InvalidRequest
from orchestra_inference_node.flows.measuring import Measuring
from orchestra_inference_node.flows.prefetching import Prefetching
from orchestra_inference_node.flows.residency import Residency
from orchestra_inference_node.rpc.forwarding import Forwarding, Stubs
from orchestra_inference_node.rpc.forwarding_batch import ForwardedBatch
from orchestra_inference_node.rpc.measuring import asked, measured_speed
from orchestra_inference_node.rpc.node_messages import NodeMessages, progress_of, wanted_of

Context = Any
# slots come and go by the token; a watcher sees the last of several changes
_WATCH_AT_MOST_EVERY_S = 0.05
_WATCH_AT_LEAST_EVERY_S = 10.0


class DaemonServicer(pb_grpc.InferenceServiceServicer):
    """Prefetches, loads, measures, unloads, reports, and forwards what generates."""

    def __init__(
        self,
        residency: Residency,
        messages: NodeMessages,
        forwarding: Forwarding,
        stubs: Stubs,
        measuring: Measuring,
        prefetching: Prefetching,
        drain_s: float,
    ) -> None:
        self._residency = residency
        self._measuring = measuring
        self._prefetching = prefetching
        self._messages = messages
        self._forwarding = forwarding
        self._stubs = stubs
        self._drain_s = drain_s

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        async for event in self._forwarding.generate(request, context.set_trailing_metadata):
            yield event

    async def GenerateBatch(
        self, requests: AsyncIterator[pb.GenerateBatchRequest], context: Context
    ) -> AsyncIterator[pb.GenerateBatchResponse]:
        async with aclosing(ForwardedBatch(self._forwarding, self._stubs).run(requests)) as answers:
            async for answer in answers:
                yield answer

    async def CountTokens(self, request: pb.CountTokensRequest, context: Context) -> pb.CountTokensResponse:
        return await self._forwarding.count_tokens(request)

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        return await self._forwarding.embed(request)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        return await self._forwarding.score(request)

    async def PrefetchModel(
        self, request: pb.PrefetchModelRequest, context: Context
    ) -> pb.PrefetchModelResponse:
        wanted = wanted_of(request.spec)
        if self._messages.draining:
            raise Draining(f"node {self._messages.identity.node_id}")
        done = await self._prefetching.prefetch(wanted)
        return pb.PrefetchModelResponse(bytes_total=done.bytes_total, copied=done.copied)

    async def LoadModel(
        self, request: pb.LoadModelRequest, context: Context
    ) -> AsyncIterator[pb.LoadModelResponse]:
        wanted = wanted_of(request.spec)
        if self._messages.draining:
            raise Draining(f"node {self._messages.identity.node_id}")
        async with aclosing(self._residency.load(wanted)) as moves:
            async for resident in moves:
                yield pb.LoadModelResponse(
                    progress=progress_of(resident), worker=self._messages.worker(resident)
                )

    async def MeasureModel(
        self, request: pb.MeasureModelRequest, context: Context
    ) -> AsyncIterator[pb.MeasureModelResponse]:
        wanted = asked(request)
        if self._messages.draining:
            raise Draining(f"node {self._messages.identity.node_id}")
        resident = self._residency.find(wanted.model)
        async with aclosing(self._measuring.measure(wanted.model, wanted.tokens, wanted.rounds)) as moves:
            async for now in moves:
                yield pb.MeasureModelResponse(
                    measured=measured_speed(now.figures, resident),
                    activity=now.activity,
                    done=now.done,
                    total=now.total,
                )

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.UnloadModelResponse:
        if not request.model:
            raise InvalidRequest.of("model", "must be set")
        drain = request.drain.ToTimedelta().total_seconds() if request.HasField("drain") else self._drain_s
        if drain < 0:
            raise InvalidRequest.of("drain", "must not be negative")
        done = await self._residency.unload(request.model, drain)
        return pb.UnloadModelResponse(
            was_loaded=done.was_loaded,
            memory_freed_bytes=done.memory_freed,
            cancelled_requests=done.cut_calls,
        )

    async def GetNode(self, request: pb.GetNodeRequest, context: Context) -> pb.GetNodeResponse:
        return pb.GetNodeResponse(node=self._messages.node())

    async def WatchNode(
        self, request: pb.WatchNodeRequest, context: Context
    ) -> AsyncIterator[pb.WatchNodeResponse]:
        changes = self._residency.changes
        while True:
            seen = changes.version
            yield pb.WatchNodeResponse(node=self._messages.node())
            await asyncio.sleep(_WATCH_AT_MOST_EVERY_S)
            await changes.after(seen, _WATCH_AT_LEAST_EVERY_S)
