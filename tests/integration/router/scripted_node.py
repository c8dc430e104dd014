"""A worker, and a cloud-proxy, that follow a script over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as cloud_pb
from orchestra.cloud.v1 import cloud_proxy_service_pb2_grpc as cloud_grpc
from orchestra.generation.v1 import embedding_pb2, event_pb2, provenance_pb2, request_pb2, usage_pb2
from orchestra.inference.v1 import inference_service_pb2 as inference_pb
from orchestra.inference.v1 import inference_service_pb2_grpc as inference_grpc
from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_pb2
from orchestra_errors import OrchestraError, WrongInstance
from orchestra_rpc import pack_status

Event = event_pb2.GenerationEvent
Step = str | OrchestraError | asyncio.Event
"""`started`, `heartbeat`, `finish`, `end` (the stream just ends), any other text: a delta; an error: the
sample fails with it; an event: nothing more until it is set."""
Script = Callable[[request_pb2.GenerationRequest, request_pb2.HopContext, int], Iterable[Step]]


def answer(*words: str) -> Script:
    """The same words for every sample."""
    return lambda generation, hop, index: ["started", *words, "finish"]


class Node(inference_grpc.InferenceServiceServicer):
    """One worker that follows its script."""

    def __init__(self, model: str, node_id: str) -> None:
        self.model = model
        self.node_id = node_id
        self.instance_id = f"{node_id}-1"
        self.script: Script = answer("Hello", ", ", "world")
        self.legs: list[tuple[request_pb2.GenerationRequest, request_pb2.HopContext]] = []
        self.batch_streams = 0
        self.batch_messages = 0
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.ids = 0
        self.address = ""
        self.capabilities = node_pb2.Capabilities(context_tokens=2048, chat=model.startswith("smol"))
        self.embedded: list[inference_pb.EmbedRequest] = []
        self.embeds: Callable[[Sequence[str]], Sequence[Sequence[float]] | OrchestraError] = lambda texts: [
            [float(len(text)), 0.0] for text in texts
        ]

    def _started(
        self, generation: request_pb2.GenerationRequest, hop: request_pb2.HopContext
    ) -> provenance_pb2.Provenance:
        self.ids += 1
        return provenance_pb2.Provenance(
            sample_id=f"{self.instance_id}-{self.ids}",
            request_id=generation.request_id,
            attempt_id=hop.attempt_id,
            model=self.model,
            provider="local",
            revision=f"sha256:{self.model}",
            node_id=self.node_id,
            instance_id=self.instance_id,
        )

    async def _sample(
        self, generation: request_pb2.GenerationRequest, hop: request_pb2.HopContext, index: int
    ) -> AsyncIterator[Event]:
        provenance = provenance_pb2.Provenance()
        words = 0
        for step in self.script(generation, hop, index):
            event = Event(sample_index=index)
            if isinstance(step, OrchestraError):
                raise step
            if isinstance(step, asyncio.Event):
                self.began.set()
                await step.wait()
                continue
            if step == "end":
                return
            if step == "started":
                provenance = self._started(generation, hop)
                event.started.provenance.CopyFrom(provenance)
            elif step == "heartbeat":
                event.heartbeat.activity = event_pb2.ACTIVITY_QUEUED
            elif step == "finish":
                event.finished.reason = event_pb2.FINISH_REASON_STOP
                event.finished.usage.CopyFrom(usage_pb2.Usage(prompt_tokens=5, completion_tokens=words))
                event.finished.timings.device_share.FromMilliseconds(100)
                event.finished.provenance.CopyFrom(provenance)
            else:
                words += 1
                event.text_delta.text = step
            yield event

    def _check(self, hop: request_pb2.HopContext) -> None:
        if hop.expected_instance_id != self.instance_id:
            raise WrongInstance(hop.expected_instance_id, self.instance_id)

    def _indexes(self, generation: request_pb2.GenerationRequest, hop: request_pb2.HopContext) -> range:
        return range(hop.first_sample_index, hop.first_sample_index + generation.sampling.n)

    async def Generate(self, request: inference_pb.GenerateRequest, context: Any) -> Any:
        generation, hop = request.generation, request.hop
        self.legs.append((generation, hop))
        self._check(hop)
        try:
            for index in self._indexes(generation, hop):
                try:
                    async for event in self._sample(generation, hop, index):
                        yield inference_pb.GenerateResponse(event=event)
                except OrchestraError as error:
                    if generation.sampling.n == 1 or error.reason == "DRAINING":
                        raise
                    yield inference_pb.GenerateResponse(event=failed(index, error))
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def GenerateBatch(self, request_iterator: Any, context: Any) -> Any:
        self.batch_streams += 1
        out: asyncio.Queue[inference_pb.GenerateBatchResponse | OrchestraError | None] = asyncio.Queue()
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(item: request_pb2.BatchItem) -> None:
            for index in self._indexes(item.generation, item.hop):
                try:
                    self._check(item.hop)
                    ended = False
                    async for event in self._sample(item.generation, item.hop, index):
                        ended = event.HasField("finished")
                        out.put_nowait(packed(item.correlation_id, event))
                    if not ended:
                        out.put_nowait(None)
                        return
                except OrchestraError as error:
                    if error.reason == "DRAINING":
                        out.put_nowait(error)
                        return
                    out.put_nowait(packed(item.correlation_id, failed(index, error)))
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise

        async def read() -> None:
            async for request in request_iterator:
                self.batch_messages += 1
                for label in request.cancel_correlation_ids:
                    tasks[label].cancel()
                for item in request.items:
                    self.legs.append((item.generation, item.hop))
                    tasks[item.correlation_id] = asyncio.create_task(one(item))
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            out.put_nowait(None)

        reader = asyncio.create_task(read())
        try:
            while (message := await out.get()) is not None:
                if isinstance(message, OrchestraError):
                    raise message
                while not out.empty() and isinstance(out._queue[0], inference_pb.GenerateBatchResponse):  # type: ignore[attr-defined]
                    message.MergeFrom(out.get_nowait())
                yield message
        finally:
            for task in (reader, *tasks.values()):
                task.cancel()

    async def Embed(self, request: inference_pb.EmbedRequest, context: Any) -> inference_pb.EmbedResponse:
        self.embedded.append(request)
        if request.expected_instance_id != self.instance_id:
            raise WrongInstance(request.expected_instance_id, self.instance_id)
        vectors = self.embeds(request.texts)
        if isinstance(vectors, OrchestraError):
            raise vectors
        return inference_pb.EmbedResponse(
            embeddings=[embedding_pb2.Embedding(values=vector, tokens=3) for vector in vectors],
            model=self.model,
            revision="sha256:as-it-says",
        )

    def placement(self) -> model_pb2.Placement:
        worker_id = f"{self.node_id}/{self.model}"
        return model_pb2.Placement(
            placement_id=worker_id,
            model=self.model,
            node_id=self.node_id,
            state=model_pb2.PLACEMENT_STATE_SERVING,
            watts=36.0,
            power_source=model_pb2.POWER_SOURCE_DECLARED,
            worker=node_pb2.Worker(
                worker_id=worker_id,
                instance_id=self.instance_id,
                address=self.address,
                model=self.model,
                revision=f"sha256:{self.model}",
                engine="scripted",
                state=node_pb2.STATE_SERVING,
                slots_total=4,
                slots_free=4,
                capabilities=self.capabilities,
            ),
        )


class Cloud(cloud_grpc.CloudProxyServiceServicer):
    """A proxy that answers by a node's script."""

    def __init__(self) -> None:
        self.inner = Node("gpt-4o", "")
        self.inner.instance_id = ""

    async def Generate(self, request: cloud_pb.GenerateRequest, context: Any) -> Any:
        relayed = inference_pb.GenerateRequest(generation=request.generation, hop=request.hop)
        async for response in self.inner.Generate(relayed, context):
            event = response.event
            if event.HasField("finished"):
                event.finished.cost.CopyFrom(usage_pb2.Cost(state=usage_pb2.COST_STATE_SETTLED, nanos=77))
            yield cloud_pb.GenerateResponse(event=event)


def failed(index: int, error: OrchestraError) -> Event:
    return Event(sample_index=index, sample_failed=event_pb2.SampleFailed(status=pack_status(error)))


def packed(label: str, event: Event) -> inference_pb.GenerateBatchResponse:
    return inference_pb.GenerateBatchResponse(
        events=[event_pb2.LabelledEvent(correlation_id=label, event=event)]
    )
