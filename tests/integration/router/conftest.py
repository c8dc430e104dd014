"""A router between neighbours that follow a script: real servers on free ports, real channels."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestra.cache.v1 import cache_service_pb2_grpc as cache_grpc
from orchestra.cloud.v1 import cloud_proxy_service_pb2_grpc as cloud_grpc
from orchestra.generation.v1 import request_pb2
from orchestra.inference.v1 import inference_service_pb2_grpc as inference_grpc
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as ledger_grpc
from orchestra.models.v1 import model_manager_service_pb2_grpc as manager_grpc
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1.router_service_pb2_grpc import RouterServiceStub
from orchestra_config import loads
from orchestra_router.app import Router, build
from orchestra_router.config import Settings
from orchestra_rpc import RpcSettings, Service, open_channel, running
from orchestra_telemetry import Telemetry

# tests are imported by their path, so that the doubles beside them are not found without this
sys.path.insert(0, str(Path(__file__).parent))

from asking import asking, kinds, text_of
from neighbours import Cache, Ledger, Manager
from scripted_node import Cloud, Event, Node, answer

LOCALHOST = RpcSettings(listen="127.0.0.1:0", drain_s=0.2)


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
