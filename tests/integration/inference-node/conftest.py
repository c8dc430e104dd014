"""A real daemon as a process of its own, on free ports, with the small real model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra.inference.v1 import node_pb2
from orchestra_rpc import MeshChannel, call_stream, call_unary, open_channel
from orchestra_testing import model_file

MODEL = "smollm2-135m"
Event = event_pb2.GenerationEvent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class NodeProcess:
    """A daemon that runs; `address` answers InferenceService."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


DEVICES = (
    "    devices:\n      - {id: cpu0, kind: cpu, threads: 1, watts: 15}\n"
    "      - {id: held, kind: cpu}\n    reserved: [held]\n"
)


def start_node(
    folder: Path, manager: str = "127.0.0.1:1", devices: str = DEVICES, **settings: str
) -> NodeProcess:
    """`manager` is nobody by default: a node works alone. `devices` are lines of YAML."""
    address = f"127.0.0.1:{free_port()}"
    first = free_port()
    config = folder / "orchestra.yaml"
    config.write_text(
        f"nodes:\n  - id: test-node\n    address: {address}\n    worker_ports: {first}-{first + 20}\n"
        f"{devices}"
        "services:\n  inference_node: {heartbeat_s: 0.2}\n"
        f"addresses: {{model_manager: '{manager}'}}\n"
    )
    log = folder / "node.log"
    env = os.environ | {
        "ORCHESTRA_CONFIG": str(config),
        "ORCHESTRA_STATE_DIR": str(folder / "state"),
        "ORCHESTRA_LOG_FORMAT": "json",
        "ORCHESTRA_METRICS_PORT": "0",
        **settings,
    }
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "orchestra_inference_node"], env=env, stderr=out)
    return NodeProcess(process, address, log)


def spec_of(**changes: object) -> pb.ModelSpec:
    spec = pb.ModelSpec(
        model=MODEL,
        path=str(model_file(MODEL)),
        engine="auto",
        chat=True,
        context_tokens=1024,
        slots=2,
        queue_limit=8,
    )
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(spec, name).extend(value)
        else:
            setattr(spec, name, value)
    return spec


def text_of(events: list[Event], index: int = 0) -> str:
    return "".join(event.text_delta.text for event in events if event.sample_index == index)


def ask(prompt: str = "def add(a, b):", model: str = MODEL, **sampling: object) -> pb.GenerateRequest:
    request = pb.GenerateRequest()
    request.generation.text = prompt
    request.generation.routing.model = model
    request.generation.sampling.max_tokens = 8
    for name, value in sampling.items():
        if isinstance(value, list):
            getattr(request.generation.sampling, name).extend(value)
        else:
            setattr(request.generation.sampling, name, value)
    return request


@dataclass
class Client:
    """Calls to one address."""

    channel: MeshChannel

    @property
    def stub(self) -> pb_grpc.InferenceServiceAsyncStub:
        return pb_grpc.InferenceServiceStub(self.channel)

    async def node(self) -> node_pb2.Node:
        return (await call_unary(self.stub.GetNode(pb.GetNodeRequest()))).node

    async def worker(self) -> node_pb2.Worker:
        (worker,) = (await self.node()).workers
        return worker

    async def load(self, **spec: object) -> list[pb.LoadModelResponse]:
        async with call_stream(self.stub.LoadModel(pb.LoadModelRequest(spec=spec_of(**spec)))) as moves:
            return [move async for move in moves]

    async def events(self, request: pb.GenerateRequest, timeout: float | None = None) -> list[Event]:
        async with call_stream(self.stub.Generate(request, timeout=timeout)) as answers:
            return [answer.event async for answer in answers]

    ask = staticmethod(ask)
    spec_of = staticmethod(spec_of)
    text_of = staticmethod(text_of)

    async def text(self, request: pb.GenerateRequest) -> str:
        return text_of(await self.events(request))

    async def until(self, seen: Callable[[node_pb2.Node], bool]) -> node_pb2.Node:
        """The first node message of a watch for which `seen` holds."""
        async with call_stream(self.stub.WatchNode(pb.WatchNodeRequest())) as nodes:
            async for answer in nodes:
                if seen(answer.node):
                    return answer.node
        raise AssertionError("the watch ended")


@asynccontextmanager
async def client_of(address: str) -> AsyncIterator[Client]:
    async with open_channel(address) as channel:
        await channel.channel_ready()
        yield Client(channel)


@pytest.fixture(scope="session")
def node_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    node = start_node(tmp_path_factory.mktemp("node"))
    yield node
    assert node.stop() == 0, node.log.read_text()


@pytest.fixture
async def node(node_process: NodeProcess) -> AsyncIterator[Client]:
    """The shared daemon with the model loaded."""
    async with client_of(node_process.address) as client:
        await client.load()
        yield client


@pytest.fixture
async def worker(node: Client) -> AsyncIterator[Client]:
    """The shared daemon's worker, called directly as a router does."""
    async with client_of((await node.worker()).address) as client:
        yield client


@pytest.fixture
def worker_of() -> Callable[[Client], object]:
    """Opens a client of a node's only worker."""

    @asynccontextmanager
    async def connect(node: Client) -> AsyncIterator[Client]:
        async with client_of((await node.worker()).address) as client:
            yield client

    return connect


@pytest.fixture
async def own_node(tmp_path: Path) -> AsyncIterator[tuple[NodeProcess, Client]]:
    """A daemon of the test's own, for tests that kill."""
    process = start_node(tmp_path)
    try:
        async with client_of(process.address) as client:
            yield process, client
    finally:
        if process.process.poll() is None:
            process.stop()


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    """Starts daemons with settings of the test's own; they are stopped afterwards."""
    async with AsyncExitStack() as stack:

        async def started(
            folder: Path, manager: str = "127.0.0.1:1", **settings: str
        ) -> tuple[NodeProcess, Client]:
            process = start_node(folder, manager, **settings)
            stack.callback(process.stop)
            return process, await stack.enter_async_context(client_of(process.address))

        yield started
