"""RouterService: proto in, flow, proto out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1.router_service_pb2_grpc import RouterServiceServicer
from orchestra_errors import InvalidRequest, NotYet
from orchestra_rpc import page_of

from ..flows.batch import Arrived, BatchFlow
from ..flows.diverse import DiverseFlow
from ..flows.diversity import MeasureFlow
from ..flows.embed import EmbedFlow
from ..flows.explain import ExplainFlow, ListModelsFlow
from ..flows.feedback import FeedbackFlow
from ..flows.generate import GenerateFlow
from ..flows.runs import RunsFlow
from .convert import available_model, explained, run_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass(frozen=True, slots=True)
class Flows:
    generate: GenerateFlow
    batch: BatchFlow
    diverse: DiverseFlow
    embed: EmbedFlow
    explain: ExplainFlow
    models: ListModelsFlow
    measure: MeasureFlow
    feedback: FeedbackFlow
    runs: RunsFlow


class RouterServicer(RouterServiceServicer):
    def __init__(self, flows: Flows) -> None:
        self._flows = flows

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncGenerator[pb.GenerateResponse, None]:
        _require_generation(request)
        async with aclosing(self._flows.generate(request.generation)) as events:
            async for event in events:
                yield pb.GenerateResponse(event=event)

    async def GenerateBatch(
        self, request_iterator: AsyncIterator[pb.GenerateBatchRequest], context: Context
    ) -> AsyncGenerator[pb.GenerateBatchResponse, None]:
        async with aclosing(self._flows.batch(_arriving(request_iterator))) as packets:
            async for packet in packets:
                yield packet

    async def GenerateDiverse(
        self, request: pb.GenerateDiverseRequest, context: Context
    ) -> AsyncGenerator[pb.GenerateDiverseResponse, None]:
        _require_generation(request)
        async with aclosing(self._flows.diverse(request)) as packets:
            async for packet in packets:
                yield packet

    async def ExplainRoute(
        self, request: pb.ExplainRouteRequest, context: Context
    ) -> pb.ExplainRouteResponse:
        _require_generation(request)
        return explained(self._flows.explain(request.generation))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        page = page_of(request.page_size, request.page_token, filter=request.serving_only)
        rows, cursor = self._flows.models(
            serving_only=request.serving_only, after=page.cursor, limit=page.size
        )
        models = [available_model(row) for row in rows]
        return pb.ListModelsResponse(models=models, next_page_token=page.token(cursor))

    async def MeasureDiversity(
        self, request: pb.MeasureDiversityRequest, context: Context
    ) -> pb.MeasureDiversityResponse:
        return await self._flows.measure(request)

    async def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, context: Context
    ) -> pb.RecordFeedbackResponse:
        return pb.RecordFeedbackResponse(recorded=await self._flows.feedback(request))

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        return pb.GetRunResponse(run=run_of(await self._flows.runs.get(request.run_id)))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        rows, token = await self._flows.runs.list(request.page_size, request.page_token)
        return pb.ListRunsResponse(runs=[run_of(row) for row in rows], next_page_token=token)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        seen, stopped = await self._flows.runs.cancel(request.run_id, request.reason)
        return pb.CancelRunResponse(run=run_of(seen), cancelled_requests=stopped)

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        return await self._flows.embed(request)

    async def Evaluate(self, request: pb.EvaluateRequest, context: Context) -> pb.EvaluateResponse:
        raise NotYet("evaluators")

    async def SubmitBatchJob(
        self, request: pb.SubmitBatchJobRequest, context: Context
    ) -> pb.SubmitBatchJobResponse:
        raise NotYet("the vendors' batch jobs")

    async def GetBatchJob(self, request: pb.GetBatchJobRequest, context: Context) -> pb.GetBatchJobResponse:
        raise NotYet("the vendors' batch jobs")

    async def FetchBatchResults(
        self, request: pb.FetchBatchResultsRequest, context: Context
    ) -> pb.FetchBatchResultsResponse:
        raise NotYet("the vendors' batch jobs")

    async def CancelBatchJob(
        self, request: pb.CancelBatchJobRequest, context: Context
    ) -> pb.CancelBatchJobResponse:
        raise NotYet("the vendors' batch jobs")


def _require_generation(
    request: pb.GenerateRequest | pb.GenerateDiverseRequest | pb.ExplainRouteRequest,
) -> None:
    if not request.HasField("generation"):
        raise InvalidRequest.of("generation", "must be set")


async def _arriving(requests: AsyncIterator[pb.GenerateBatchRequest]) -> AsyncGenerator[Arrived, None]:
    async for request in requests:
        yield Arrived(request.items, request.cancel_correlation_ids)
