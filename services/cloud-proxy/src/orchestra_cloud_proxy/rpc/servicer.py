"""CloudProxyService: proto to flow to proto."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as pb
from orchestra.cloud.v1 import cloud_proxy_service_pb2_grpc as pb_grpc
from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra_cloud_proxy.domain.offerings import Offerings
from orchestra_cloud_proxy.flows.batch import Ask, BatchFlow, Withdraw
from orchestra_cloud_proxy.flows.embed import EmbedFlow
from orchestra_cloud_proxy.flows.generate import GenerateFlow
from orchestra_cloud_proxy.flows.job import Job
from orchestra_cloud_proxy.flows.providers import ProvidersFlow
from orchestra_cloud_proxy.rpc.convert import embed_job, to_job
from orchestra_errors import InvalidRequest, NotYet, OrchestraError
from orchestra_telemetry import call_trace_id

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
MOST_INDEXES = 4096


class CloudProxyServicer(pb_grpc.CloudProxyServiceServicer):
    def __init__(
        self,
        offerings: Offerings,
        generate: GenerateFlow,
        batch: BatchFlow,
        embed: EmbedFlow,
        providers: ProvidersFlow,
    ) -> None:
        self._offerings = offerings
        self._generate = generate
        self._batch = batch
        self._embed = embed
        self._providers = providers

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        job = self._job(request.generation, request.hop, context)
        async with aclosing(self._generate.run(job)) as events:
            async for event in events:
                yield pb.GenerateResponse(event=event)

    async def GenerateBatch(
        self, request_iterator: AsyncIterator[pb.GenerateBatchRequest], context: Context
    ) -> AsyncIterator[pb.GenerateBatchResponse]:
        async with aclosing(self._batch.run(self._asked(request_iterator, context))) as ready:
            async for labelled in ready:
                events = [
                    event_pb2.LabelledEvent(correlation_id=label, event=event) for label, event in labelled
                ]
                yield pb.GenerateBatchResponse(events=events)

    async def _asked(
        self, requests: AsyncIterator[pb.GenerateBatchRequest], context: Context
    ) -> AsyncIterator[Sequence[Ask | Withdraw]]:
        seen: set[str] = set()
        async for request in requests:
            asked: list[Ask | Withdraw] = []
            for number, item in enumerate(request.items):
                asked.append(self._ask(item, f"items[{number}].", seen, context))
            asked += [Withdraw(label) for label in request.cancel_correlation_ids]
            yield asked

    def _ask(self, item: request_pb2.BatchItem, at: str, seen: set[str], context: Context) -> Ask:
        """Raises InvalidRequest for a label that answers cannot be told apart by; what else is wrong with an
        item is that item's failure alone."""
        label = item.correlation_id
        if not label or len(label) > 128 or label in seen:
            raise InvalidRequest.of(f"{at}correlation_id", "must be 1 to 128 characters, once on the stream")
        seen.add(label)
        try:
            job = self._job(item.generation, item.hop, context)
        except OrchestraError as error:
            first = item.hop.first_sample_index
            n = item.generation.sampling.n
            return Ask(label, None, range(first, first + (n if 1 <= n <= MOST_INDEXES else 1)), error)
        return Ask(label, job, job.indexes)

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        job = embed_job(request, self._offerings, trace_id=call_trace_id())
        embeddings = await self._embed.run(job, request.texts)
        return pb.EmbedResponse(
            embeddings=embeddings, model=job.offering.model, provider=job.offering.provider
        )

    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: Context
    ) -> pb.ListProvidersResponse:
        answer = pb.ListProvidersResponse(providers=self._providers.all())
        answer.key_rotation.FromTimedelta(self._providers.rotation)
        return answer

    async def ReloadKeys(self, request: pb.ReloadKeysRequest, context: Context) -> pb.ReloadKeysResponse:
        return pb.ReloadKeysResponse(providers=await self._providers.reload(request.provider))

    # not yet

    async def CountTokens(self, request: pb.CountTokensRequest, context: Context) -> pb.CountTokensResponse:
        raise NotYet("counting tokens at a provider")

    async def SubmitBatchJob(
        self, request: pb.SubmitBatchJobRequest, context: Context
    ) -> pb.SubmitBatchJobResponse:
        raise NotYet("vendors' batch jobs")

    async def GetBatchJob(self, request: pb.GetBatchJobRequest, context: Context) -> pb.GetBatchJobResponse:
        raise NotYet("vendors' batch jobs")

    async def FetchBatchResults(
        self, request: pb.FetchBatchResultsRequest, context: Context
    ) -> pb.FetchBatchResultsResponse:
        raise NotYet("vendors' batch jobs")

    async def CancelBatchJob(
        self, request: pb.CancelBatchJobRequest, context: Context
    ) -> pb.CancelBatchJobResponse:
        raise NotYet("vendors' batch jobs")

    def _job(
        self, generation: request_pb2.GenerationRequest, hop: request_pb2.HopContext, context: Context
    ) -> Job:
        bounded = context.time_remaining() is not None
        return to_job(generation, hop, self._offerings, bounded=bounded, trace_id=call_trace_id())
