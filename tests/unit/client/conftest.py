"""A router whose answers the test writes, behind a real server on a free port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2, provenance_pb2, usage_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as pb_grpc
from orchestra_errors import NotFound, OrchestraError
from orchestra_rpc import RpcSettings, Service, pack_status, running
from orchestra_telemetry import Telemetry, call_trace_id

ROUTER = "orchestra.router.v1.RouterService"


def started(index: int = 0, model: str = "smollm2-135m") -> event_pb2.GenerationEvent:
    provenance = provenance_pb2.Provenance(model=model, trace_id=call_trace_id())
    return event_pb2.GenerationEvent(sample_index=index, started=event_pb2.Started(provenance=provenance))


def text(words: str, index: int = 0, **more: Any) -> event_pb2.GenerationEvent:
    return event_pb2.GenerationEvent(sample_index=index, text_delta=event_pb2.TextDelta(text=words, **more))


def finished(index: int = 0, model: str = "smollm2-135m") -> event_pb2.GenerationEvent:
    return event_pb2.GenerationEvent(
        sample_index=index,
        finished=event_pb2.Finished(
            reason=event_pb2.FINISH_REASON_MAX_TOKENS,
            usage=usage_pb2.Usage(prompt_tokens=3, completion_tokens=2),
            cost=usage_pb2.Cost(state=usage_pb2.COST_STATE_ESTIMATED, nanos=2_000),
            provenance=provenance_pb2.Provenance(
                sample_id=f"s-{index}", request_id="r-1", model=model, trace_id=call_trace_id()
            ),
        ),
    )


def failed(error: OrchestraError, index: int = 0) -> event_pb2.GenerationEvent:
    failure = event_pb2.SampleFailed(status=pack_status(error))
    return event_pb2.GenerationEvent(sample_index=index, sample_failed=failure)


class ScriptedRouter(pb_grpc.RouterServiceServicer):
    """`script` answers Generate and GenerateDiverse; a batch answers each item with its own prompt."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.script: Callable[[Any], AsyncIterator[event_pb2.GenerationEvent]] = one_sample
        self.arrived = threading.Event()
        self.released = threading.Event()
        self.most_out = 0
        self.hold = False

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self.requests.append(request)
        try:
            async for event in self.script(request):
                yield pb.GenerateResponse(event=event)
        finally:
            self.released.set()

    async def GenerateDiverse(
        self, request: pb.GenerateDiverseRequest, context: Any
    ) -> AsyncIterator[pb.GenerateDiverseResponse]:
        self.requests.append(request)
        count = 0
        index = 0
        for share in request.plan:
            for _ in range(share.samples):
                events = [started(index, share.model), text(f"{index}", index), finished(index, share.model)]
                yield pb.GenerateDiverseResponse(events=events)
                index += 1
                count += 1
        yield pb.GenerateDiverseResponse(summary=pb.DiverseSummary(finished=count, selected=[0]))

    async def GenerateBatch(
        self, request_iterator: AsyncIterator[pb.GenerateBatchRequest], context: Any
    ) -> AsyncIterator[pb.GenerateBatchResponse]:
        try:
            async for request in request_iterator:
                self.requests.append(request)
                self.arrived.set()
                answer = pb.GenerateBatchResponse()
                for item in request.items:
                    for index in range(item.generation.sampling.n or 1):
                        for event in (started(index), text(item.generation.text, index), finished(index)):
                            labelled = answer.events.add(correlation_id=item.correlation_id)
                            labelled.event.CopyFrom(event)
                self.most_out = max(self.most_out, len(request.items))
                if not self.hold:
                    yield answer
        finally:
            self.released.set()

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        models = [pb.AvailableModel(name="smollm2-135m"), pb.AvailableModel(name="gemma3-270m")]
        at = int(request.page_token or 0)
        return pb.ListModelsResponse(models=models[at : at + 1], next_page_token="1" if at == 0 else "")

    async def ExplainRoute(self, request: pb.ExplainRouteRequest, context: Any) -> pb.ExplainRouteResponse:
        if request.generation.routing.model == "smolm":
            raise NotFound("model", "smolm", nearest=["smollm2-135m"])
        candidate = pb.Candidate(model="smollm2-135m", eligible=True, rank=1)
        return pb.ExplainRouteResponse(candidates=[candidate], phase="small")


async def one_sample(request: Any) -> AsyncIterator[event_pb2.GenerationEvent]:
    """Every sample asked for: two pieces of text and its end."""
    for index in range(request.generation.sampling.n or 1):
        yield started(index)
        yield text("def é", index)
        yield text("():", index)
        yield finished(index)


class Running:
    """The scripted router in a loop of its own, so that synchronous callers can be tested, too."""

    def __init__(self, *beside: Service) -> None:
        """`beside`: other services at the same address."""
        self.router = ScriptedRouter()
        self.address = ""
        self._beside = beside
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        service = Service(ROUTER, pb_grpc.add_RouterServiceServicer_to_server, self.router)
        settings = RpcSettings(listen="127.0.0.1:0", drain_s=0.1)
        async with running([service, *self._beside], settings=settings, telemetry=Telemetry.off()) as server:
            self.address = server.address
            self._up.set()
            await self._stop.wait()


@pytest.fixture
def mesh() -> Iterator[Running]:
    with Running() as server:
        yield server
