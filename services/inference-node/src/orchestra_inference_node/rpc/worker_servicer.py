"""InferenceService of a worker: one model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from orchestra.generation.v1.provenance_pb2 import Provenance
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra_errors import FailedPrecondition, InvalidRequest, NotFound, Unsupported, Violations
from orchestra_inference_node.flows.request import RequestFlow
from orchestra_inference_node.flows.texts import TextsFlow
from orchestra_inference_node.ports import Engine
from orchestra_inference_node.rpc.batch import WorkerBatch
from orchestra_inference_node.rpc.events import Events
from orchestra_inference_node.rpc.jobs import Jobs, chat_messages
from orchestra_inference_node.rpc.naming import of_generation
from orchestra_inference_node.rpc.texts import Texts
from orchestra_requests.prompt import check_chat
from orchestra_rpc import current_deadline
from orchestra_telemetry import call_trace_id

Context = Any


class WorkerServicer(pb_grpc.InferenceServiceServicer):
    """Generates, scores, embeds and counts; what belongs to the host is answered by the daemon."""

    def __init__(self, engine: Engine, flow: RequestFlow, texts: TextsFlow, served: Provenance) -> None:
        self._engine = engine
        self._flow = flow
        self._texts = Texts(texts, served.model, served.revision, served.instance_id)
        self._served = served
        self._jobs = Jobs(engine, served.model, served.instance_id)

    async def Generate(
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        try:
            job = await self._jobs.make(request.generation, request.hop, deadline_at())
            events = Events(
                self._served, request.generation, request.hop, call_trace_id(), seeded=self._jobs.seeded
            )
            try:
                async with aclosing(self._flow.run(job)) as happenings:
                    async for sample, what in happenings:
                        yield pb.GenerateResponse(event=events.of(sample, what))
            finally:
                if consumed := events.unfinished(job.samples):
                    context.set_trailing_metadata(consumed)
        except InvalidRequest as error:
            raise of_generation(error) from error

    async def GenerateBatch(
        self, requests: AsyncIterator[pb.GenerateBatchRequest], context: Context
    ) -> AsyncIterator[pb.GenerateBatchResponse]:
        batch = WorkerBatch(self._jobs, self._flow, self._served, deadline_at(), call_trace_id())
        async with aclosing(batch.run(requests)) as answers:
            async for answer in answers:
                yield answer

    async def CountTokens(self, request: pb.CountTokensRequest, context: Context) -> pb.CountTokensResponse:
        found = Violations()
        kind = request.WhichOneof("prompt")
        found.require(bool(request.model), "model", "must be set")
        found.require(kind is not None, "prompt", "must be set: chat or text")
        if kind == "chat":
            check_chat(request.chat, found)
        found.raise_if_any()
        if request.model != self._served.model:
            raise NotFound("model", request.model, [self._served.model])
        if kind == "chat" and not self._engine.facts.chat:
            raise Unsupported("chat", self._served.model)
        prompt = chat_messages(request.chat) if kind == "chat" else request.text
        ids = await self._engine.tokenize(prompt)
        return pb.CountTokensResponse(
            tokens=len(ids),
            token_ids=ids if request.return_token_ids else (),
            model=self._served.model,
            revision=self._served.revision,
        )

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.EmbedResponse:
        return await self._texts.embed(request, deadline_at())

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        return await self._texts.score(request, deadline_at())

    async def PrefetchModel(self, request: Any, context: Context) -> Any:
        raise self._ask_the_daemon()

    def LoadModel(self, request: Any, context: Context) -> AsyncIterator[pb.LoadModelResponse]:
        raise self._ask_the_daemon()

    def MeasureModel(self, request: Any, context: Context) -> AsyncIterator[pb.MeasureModelResponse]:
        raise self._ask_the_daemon()

    async def UnloadModel(self, request: Any, context: Context) -> Any:
        raise self._ask_the_daemon()

    async def GetNode(self, request: Any, context: Context) -> Any:
        raise self._ask_the_daemon()

    def WatchNode(self, request: Any, context: Context) -> AsyncIterator[pb.WatchNodeResponse]:
        raise self._ask_the_daemon()

    def _ask_the_daemon(self) -> FailedPrecondition:
        return FailedPrecondition(
            f"worker of {self._served.model}", "the daemon of its node answers for the host and its models"
        )


def deadline_at() -> float | None:
    """The call's deadline on the monotonic clock."""
    deadline = current_deadline()
    return None if deadline is None else time.monotonic() + deadline.remaining()
