"""A router between neighbours that follow a script: real servers on free ports, real channels."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra.cache.v1 import cache_service_pb2_grpc as cache_grpc
from orchestra.cloud.v1 import cloud_proxy_service_pb2 as cloud_pb
from orchestra.cloud.v1 import cloud_proxy_service_pb2_grpc as cloud_grpc
from orchestra.generation.v1 import event_pb2, provenance_pb2, request_pb2, usage_pb2
from orchestra.inference.v1 import inference_service_pb2 as inference_pb
from orchestra.inference.v1 import inference_service_pb2_grpc as inference_grpc
from orchestra.inference.v1 import node_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as ledger_grpc
from orchestra.ledger.v1 import entry_pb2
from orchestra.models.v1 import model_manager_service_pb2 as manager_pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as manager_grpc
from orchestra.models.v1 import model_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1.router_service_pb2_grpc import RouterServiceStub
from orchestra_config import loads
from orchestra_errors import OrchestraError, WrongInstance
from orchestra_router.app import Router, build
from orchestra_router.config import Settings
from orchestra_rpc import RpcSettings, Service, open_channel, pack_status, running
from orchestra_telemetry import Telemetry

Event = event_pb2.GenerationEvent
Step = str | OrchestraError | asyncio.Event
"""`started`, `heartbeat`, `finish`, `end` (the stream just ends), any other text: a delta; an error: the
sample fails with it; an event: nothing more until it is set."""
Script = Callable[[request_pb2.GenerationRequest, request_pb2.HopContext, int], Iterable[Step]]
LOCALHOST = RpcSettings(listen="127.0.0.1:0", drain_s=0.2)


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
                    async for event in self._sample(item.generation, item.hop, index):
                        out.put_nowait(packed(item.correlation_id, event))
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
                capabilities=node_pb2.Capabilities(context_tokens=2048, chat=self.model.startswith("smol")),
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


class Cache(cache_grpc.CacheServiceServicer):
    """Sample sets in a dict: enough of the contract to see what the router does with it."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], list[cache_pb.StoredSample]] = defaultdict(list)
        self.served: dict[tuple[tuple[str, str], str], set[str]] = defaultdict(set)
        self.replays: dict[str, tuple[bytes, list[cache_pb.StoredSample] | None]] = {}
        self.lookups = 0
        self.lookup_calls = 0
        self.stores: list[cache_pb.StoreRequest] = []
        self.stored = asyncio.Event()
        self.released: list[str] = []
        self.hold: asyncio.Event | None = None

    async def Lookup(self, request: cache_pb.LookupRequest, context: Any) -> cache_pb.LookupResponse:
        self.lookup_calls += 1
        return await self._lookup(request)

    async def BatchLookup(
        self, request: cache_pb.BatchLookupRequest, context: Any
    ) -> cache_pb.BatchLookupResponse:
        self.lookup_calls += 1
        found = [await self._lookup(one) for one in request.lookups]
        return cache_pb.BatchLookupResponse(outcomes=[cache_pb.LookupOutcome(found=one) for one in found])

    async def _lookup(self, request: cache_pb.LookupRequest) -> cache_pb.LookupResponse:
        if self.hold is not None:
            await self.hold.wait()
        self.lookups += 1
        answer = cache_pb.LookupResponse(replay=cache_pb.REPLAY_STATE_NEW)
        if request.request_id:
            known = self.replays.get(request.request_id)
            if known is not None and known[1] is None:
                answer.replay = cache_pb.REPLAY_STATE_RUNNING
                return answer
            if known is not None and known[1] is not None:
                answer.replay = cache_pb.REPLAY_STATE_REPLAYED
                answer.samples.extend(known[1])
                return answer
            self.replays[request.request_id] = (request.payload_digest, None)
        if request.subject.generation.cache.mode == request_pb2.CACHE_MODE_BYPASS:
            return answer
        key = _key(request.subject)
        served = self.served[key, request.rollout_id] if request.rollout_id else set()
        for position, sample in enumerate(self.sets[key], start=1):
            if sample.sample_id not in served and len(answer.samples) < request.n:
                served.add(sample.sample_id)
                copy = answer.samples.add()
                copy.CopyFrom(sample)
                copy.position, copy.total = position, len(self.sets[key])
        return answer

    async def Store(self, request: cache_pb.StoreRequest, context: Any) -> cache_pb.StoreResponse:
        self._store(request)
        return cache_pb.StoreResponse(stored=len(request.samples))

    async def BatchStore(
        self, request: cache_pb.BatchStoreRequest, context: Any
    ) -> cache_pb.BatchStoreResponse:
        for one in request.stores:
            self._store(one)
        return cache_pb.BatchStoreResponse(
            outcomes=[cache_pb.StoreOutcome(stored=cache_pb.StoreResponse()) for _ in request.stores]
        )

    def _store(self, request: cache_pb.StoreRequest) -> None:
        self.stores.append(request)
        key = _key(request.subject)
        for sample in request.samples:
            self.sets[key].append(sample)
            if request.rollout_id:
                self.served[key, request.rollout_id].add(sample.sample_id)
        if request.request_id:
            self.replays[request.request_id] = (request.payload_digest, list(request.replay_samples))
        self.stored.set()

    async def Release(self, request: cache_pb.ReleaseRequest, context: Any) -> cache_pb.ReleaseResponse:
        self.released.append(request.request_id)
        self.replays.pop(request.request_id, None)
        self.stored.set()
        return cache_pb.ReleaseResponse(released=True)


def _key(subject: cache_pb.Subject) -> tuple[str, str]:
    return subject.model, subject.generation.text or str(subject.generation.chat)


class Ledger(ledger_grpc.CostLedgerServiceServicer):
    """Keeps entries; grants reservations until told otherwise."""

    def __init__(self) -> None:
        self.entries: dict[str, entry_pb2.UsageEntry] = {}
        self.feedback: list[entry_pb2.Feedback] = []
        self.reserved: list[ledger_pb.ReservationWish] = []
        self.released: list[str] = []
        self.refusal: ledger_pb.ReservationRefusal | None = None
        self.came = asyncio.Condition()

    async def RecordUsage(
        self, request: ledger_pb.RecordUsageRequest, context: Any
    ) -> ledger_pb.RecordUsageResponse:
        async with self.came:
            for entry in request.entries:
                self.entries.setdefault(entry.attempt_id, entry)
            self.feedback.extend(request.feedback)
            self.came.notify_all()
        return ledger_pb.RecordUsageResponse(
            recorded=len(request.entries), feedback_recorded=len(request.feedback)
        )

    async def Settle(self, request: ledger_pb.SettleRequest, context: Any) -> ledger_pb.SettleResponse:
        return ledger_pb.SettleResponse()

    async def until(self, count: int) -> list[entry_pb2.UsageEntry]:
        """Wait until so many entries are there; they come in the order of their attempts."""
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: len(self.entries) >= count)
        return sorted(self.entries.values(), key=lambda entry: entry.attempt_id)

    async def Reserve(self, request: ledger_pb.ReserveRequest, context: Any) -> ledger_pb.ReserveResponse:
        answer = ledger_pb.ReserveResponse()
        for wish in request.wishes:
            self.reserved.append(wish)
            if self.refusal is not None:
                answer.outcomes.add(refusal=self.refusal)
            else:
                answer.outcomes.add(reservation=entry_pb2.Reservation(reservation_id=f"r-{wish.attempt_id}"))
        return answer

    async def Release(self, request: ledger_pb.ReleaseRequest, context: Any) -> ledger_pb.ReleaseResponse:
        async with self.came:
            self.released.extend(request.reservation_ids)
            self.came.notify_all()
        return ledger_pb.ReleaseResponse(released=len(request.reservation_ids))

    async def ListPrices(
        self, request: ledger_pb.ListPricesRequest, context: Any
    ) -> ledger_pb.ListPricesResponse:
        local = entry_pb2.Price(
            price_version="local-1", provider="local", model="*", electricity_nanos_per_kwh=100_000_000
        )
        gpt = entry_pb2.Price(
            price_version="gpt-1",
            provider="openai",
            model="gpt-4o",
            input_nanos_per_million=2_500_000_000,
            output_nanos_per_million=10_000_000_000,
        )
        for price in (local, gpt):
            price.valid_from.FromSeconds(1)
        return ledger_pb.ListPricesResponse(prices=[local, gpt])

    async def QueryCosts(
        self, request: ledger_pb.QueryCostsRequest, context: Any
    ) -> ledger_pb.QueryCostsResponse:
        wanted = request.filter.run_id
        by_run: dict[str, entry_pb2.CostBucket] = {}
        for entry in self.entries.values():
            if wanted and entry.run_id != wanted:
                continue
            key = entry.run_id if request.group_by else ""
            bucket = by_run.setdefault(key, entry_pb2.CostBucket(keys=[key] if request.group_by else []))
            bucket.attempts += 1
            bucket.samples_finished += entry.finish_reason != 0
            bucket.cost_nanos += entry.cost.nanos
        return ledger_pb.QueryCostsResponse(buckets=list(by_run.values()))


class Manager(manager_grpc.ModelManagerServiceServicer):
    """Sends the placements of the nodes that it was given, and again on `publish`."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.extra: list[model_pb2.Placement] = []
        self.phase = "phase_2_context_engineering"
        self._version = 0
        self._changed = asyncio.Condition()

    async def WatchPlacements(self, request: manager_pb.WatchPlacementsRequest, context: Any) -> Any:
        seen = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda before=seen: self._version != before)
                seen = self._version
            placements = [*(node.placement() for node in self.nodes), *self.extra]
            yield manager_pb.WatchPlacementsResponse(
                placements=placements, version=seen, manager_instance_id="m", phase=self.phase
            )

    async def publish(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()


def asking(model: str = "smollm2-135m", text: str = "def f(", **fields: Any) -> request_pb2.GenerationRequest:
    """A request; `n`, `candidates` and other routing fields by their name, anything else as its own field."""
    request = request_pb2.GenerationRequest(text=text)
    if model:
        request.routing.model = model
    for name, value in fields.items():
        if name in ("n", "seed", "temperature", "max_tokens"):
            setattr(request.sampling, name, value)
        elif name == "candidates":
            request.routing.candidates.extend(value)
        elif name in ("allow_substitution", "allow_restart", "local_only", "objective", "allow_eliminated"):
            setattr(request.routing, name, value)
        elif name == "mode":
            request.cache.mode = value
        else:
            setattr(request, name, value)
    return request


def text_of(events: Iterable[Event], index: int = 0) -> str:
    return "".join(
        event.text_delta.text
        for event in events
        if event.sample_index == index and event.HasField("text_delta")
    )


def kinds(events: Iterable[Event], index: int = 0) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events if event.sample_index == index]


@dataclass
class Mesh:
    """The router under test and its neighbours."""

    node_a: Node
    node_b: Node
    cache: Cache
    ledger: Ledger
    manager: Manager
    cloud: Cloud
    spans: InMemorySpanExporter
    stacks: dict[str, AsyncExitStack] = field(default_factory=dict)
    router: Router | None = None
    address: str = ""
    stub: Any = None
    # tests cannot import a conftest
    ask = staticmethod(asking)
    text = staticmethod(text_of)
    kinds = staticmethod(kinds)
    script = staticmethod(answer)

    async def stop(self, name: str) -> None:
        """Take a neighbour away for good: cache, ledger, manager, node_a or node_b."""
        await self.stacks.pop(name).aclose()

    async def publish(self) -> None:
        """Send the placements anew and wait until the router has them."""
        assert self.router is not None
        self.router.placements.changed.clear()
        await self.manager.publish()
        async with asyncio.timeout(5):
            await self.router.placements.changed.wait()

    async def generate(self, generation: request_pb2.GenerationRequest, **options: Any) -> list[Event]:
        """Every event of one Generate."""
        call = self.stub.Generate(pb.GenerateRequest(generation=generation), **options)
        return [response.event async for response in call]


CONFIG = """
addresses:
  model_manager: {manager}
  cache: {cache}
  cost_ledger: {ledger}
  cloud_proxy: {cloud}
nodes:
  - {{id: node-a, address: "127.0.0.1:59991", engine: llamacpp, devices: [{{id: cpu0, kind: cpu}}],
      worker_ports: 59001-59010}}
models:
  - {{name: smollm2-135m, family: smollm, context: 2048}}
  - {{name: gemma3-270m, family: gemma, context: 2048}}
providers:
  - {{name: openai, kind: openai, tier: premium}}
services:
  router: {{max_attempts: 3}}
"""


async def start(stack: AsyncExitStack, name: str, add: Any, servicer: object, telemetry: Telemetry) -> str:
    server = await stack.enter_async_context(
        running([Service(name, add, servicer)], settings=LOCALHOST, telemetry=telemetry)
    )
    return server.address


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    spans = InMemorySpanExporter()

    def telemetry(service: str) -> Telemetry:
        return Telemetry.start(service, span_processor=SimpleSpanProcessor(spans))

    made = Mesh(
        Node("smollm2-135m", "node-a"),
        Node("gemma3-270m", "node-b"),
        Cache(),
        Ledger(),
        Manager(),
        Cloud(),
        spans,
    )
    for name, service, add, servicer in (
        ("node_a", "orchestra.inference.v1.InferenceService", inference_grpc, made.node_a),
        ("node_b", "orchestra.inference.v1.InferenceService", inference_grpc, made.node_b),
        ("cache", "orchestra.cache.v1.CacheService", cache_grpc, made.cache),
        ("ledger", "orchestra.ledger.v1.CostLedgerService", ledger_grpc, made.ledger),
        ("manager", "orchestra.models.v1.ModelManagerService", manager_grpc, made.manager),
        ("cloud", "orchestra.cloud.v1.CloudProxyService", cloud_grpc, made.cloud),
    ):
        made.stacks[name] = AsyncExitStack()
        short = service.rpartition(".")[2]
        address = await start(
            made.stacks[name],
            service,
            getattr(add, f"add_{short}Servicer_to_server"),
            servicer,
            telemetry(name),
        )
        if isinstance(servicer, Node):
            servicer.address = address
        setattr(made, f"{name}_address", address)
    made.manager.nodes = [made.node_a, made.node_b]
    addresses = {name: getattr(made, f"{name}_address") for name in ("manager", "cache", "ledger", "cloud")}
    config = loads(CONFIG.format(**addresses))
    settings = Settings(
        listen="127.0.0.1:0",
        metrics_port=0,
        state_dir=tmp_path,
        cache_budget_s=0.5,
        cache_batch_budget_s=1.0,
        max_batch_items=64,
    )
    own = telemetry("router")
    made.router = await build(config, settings, own)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(made.router.shutdown.close)
        server = await stack.enter_async_context(
            running([made.router.service], settings=LOCALHOST, telemetry=own)
        )
        made.address = server.address
        channel = open_channel(server.address, telemetry=telemetry("client"))
        stack.push_async_callback(channel.close)
        made.stub = RouterServiceStub(channel)
        async with asyncio.timeout(10):
            await made.router.placements.changed.wait()
            await made.router.prices.heard.wait()
        yield made
    for neighbour in list(made.stacks):
        await made.stop(neighbour)
