"""Real inference nodes as processes of their own, on free ports, and a client of their service."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra.inference.v1 import node_pb2
from orchestra_rpc import MeshChannel, call_stream, call_unary, open_channel

Event = event_pb2.GenerationEvent
CPU_AND_A_RESERVED_ONE = (
    "{id: cpu0, kind: cpu, threads: 1, watts: 15}",
    "{id: held, kind: cpu}",
)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class NodeProcess:
    """A daemon that runs; `address` answers InferenceService."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    metrics: str
    """Where its figures are scraped."""

    def stop(self) -> int:
        """Ask it to end; its exit code once it has."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def memory_bytes(self) -> int:
        """Resident memory of the daemon and its workers."""
        process = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in [process, *process.children()])

    def figures(self, name: str) -> dict[str, float]:
        """A metric by its labels as they are written, such as `{model="m"}`."""
        with urllib.request.urlopen(self.metrics, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = (line.removeprefix(name).rpartition(" ") for line in lines if line.startswith(name))
        return {labels: float(value) for labels, _, value in found}

    def worker_pid(self, address: str) -> int:
        """The child of the daemon that listens on `address`."""
        port = int(address.rpartition(":")[2])
        for child in psutil.Process(self.process.pid).children():
            listening = (one for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
            if any(one.laddr.port == port for one in listening):
                return child.pid
        raise AssertionError(f"nobody listens on {address}")


def start_node(
    folder: Path,
    manager: str = "127.0.0.1:1",
    *,
    devices: Sequence[str] = CPU_AND_A_RESERVED_ONE,
    reserved: Sequence[str] = ("held",),
    fast_tier: str = "",
    **settings: str,
) -> NodeProcess:
    """A daemon with files in `folder`. `manager` is nobody by default: a node works alone.

    `devices` are entries of `nodes[].devices` in YAML, `fast_tier` is a folder, `settings` the daemon's
    environment.
    """
    address = f"127.0.0.1:{free_port()}"
    first, metrics = free_port(), free_port()
    config = folder / "orchestra.yaml"
    config.write_text(
        f"nodes:\n  - id: test-node\n    address: {address}\n    worker_ports: {first}-{first + 20}\n"
        "    devices:\n"
        + "".join(f"      - {device}\n" for device in devices)
        + f"    reserved: [{', '.join(reserved)}]\n"
        + f"    fast_tier: '{fast_tier}'\n"
        "services:\n  inference_node: {heartbeat_s: 0.2}\n"
        f"addresses: {{model_manager: '{manager}'}}\n"
    )
    log = folder / "node.log"
    env = os.environ | {
        "ORCHESTRA_CONFIG": str(config),
        "ORCHESTRA_STATE_DIR": str(folder / "state"),
        "ORCHESTRA_LOG_FORMAT": "json",
        "ORCHESTRA_METRICS_PORT": str(metrics),
        **settings,
    }
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "orchestra_inference_node"], env=env, stderr=out)
    return NodeProcess(process, address, log, f"http://127.0.0.1:{metrics}/metrics")


@dataclass
class NodeClient:
    """Calls to one address, a daemon's or a worker's. `spec` is the model that is meant unless another is
    named."""

    channel: MeshChannel
    spec: pb.ModelSpec

    @property
    def stub(self) -> pb_grpc.InferenceServiceAsyncStub:
        return pb_grpc.InferenceServiceStub(self.channel)

    @property
    def model(self) -> str:
        return self.spec.model

    def spec_of(self, **changes: object) -> pb.ModelSpec:
        """The spec with some of its fields changed."""
        spec = pb.ModelSpec()
        spec.CopyFrom(self.spec)
        for name, value in changes.items():
            if isinstance(value, dict):
                getattr(spec, name).update(value)
            elif isinstance(value, list):
                getattr(spec, name).extend(value)
            else:
                setattr(spec, name, value)
        return spec

    def ask(self, prompt: str = "def add(a, b):", model: str = "", **sampling: object) -> pb.GenerateRequest:
        """A request for eight tokens, with `sampling` set besides."""
        request = pb.GenerateRequest()
        request.generation.text = prompt
        request.generation.routing.model = model or self.model
        request.generation.sampling.max_tokens = 8
        for name, value in sampling.items():
            if isinstance(value, list):
                getattr(request.generation.sampling, name).extend(value)
            else:
                setattr(request.generation.sampling, name, value)
        return request

    @staticmethod
    def text_of(events: Sequence[Event], index: int = 0) -> str:
        """The whole text of one sample."""
        return "".join(event.text_delta.text for event in events if event.sample_index == index)

    async def events(self, request: pb.GenerateRequest, timeout: float | None = None) -> list[Event]:
        """Everything that the stream says. Raises what it ends with."""
        async with call_stream(self.stub.Generate(request, timeout=timeout)) as answers:
            return [answer.event async for answer in answers]

    async def text(self, request: pb.GenerateRequest) -> str:
        return self.text_of(await self.events(request))

    async def count(self, text: str, model: str = "") -> list[int]:
        """Token ids of a text."""
        asked = pb.CountTokensRequest(model=model or self.model, text=text, return_token_ids=True)
        return list((await call_unary(self.stub.CountTokens(asked))).token_ids)

    async def load(self, **changes: object) -> list[pb.LoadModelResponse]:
        """Load the spec with changes; every progress message."""
        request = pb.LoadModelRequest(spec=self.spec_of(**changes))
        async with call_stream(self.stub.LoadModel(request)) as moves:
            return [move async for move in moves]

    async def unload(self, model: str = "", drain_s: float = 0.1) -> pb.UnloadModelResponse:
        request = pb.UnloadModelRequest(model=model or self.model)
        request.drain.FromMilliseconds(int(drain_s * 1000))
        return await call_unary(self.stub.UnloadModel(request))

    async def node(self) -> node_pb2.Node:
        return (await call_unary(self.stub.GetNode(pb.GetNodeRequest()))).node

    async def worker(self, model: str = "") -> node_pb2.Worker:
        """The worker of a model as the daemon sees it now."""
        return worker_in(await self.node(), model or self.model)

    async def until(self, seen: Callable[[node_pb2.Node], bool]) -> node_pb2.Node:
        """The first node message of a watch for which `seen` holds."""
        async with call_stream(self.stub.WatchNode(pb.WatchNodeRequest())) as nodes:
            async for answer in nodes:
                if seen(answer.node):
                    return answer.node
        raise AssertionError("the watch ended")

    async def until_worker(
        self, seen: Callable[[node_pb2.Worker], bool], model: str = "", seconds: float = 30.0
    ) -> node_pb2.Worker:
        """The model's worker in the first message of a watch for which `seen` holds. Raises TimeoutError."""
        name = model or self.model
        async with asyncio.timeout(seconds):
            node = await self.until(lambda node: any(one.model == name and seen(one) for one in node.workers))
        return worker_in(node, name)


def worker_in(node: node_pb2.Node, model: str) -> node_pb2.Worker:
    """The worker of a model. AssertionError when there is none."""
    for worker in node.workers:
        if worker.model == model:
            return worker
    raise AssertionError(f"{model} is not among {[worker.model for worker in node.workers]}")


def idle(worker: node_pb2.Worker) -> bool:
    """Whether nothing runs and nothing waits."""
    return worker.slots_total > 0 and worker.slots_free == worker.slots_total and not worker.queued


@asynccontextmanager
async def client_of(address: str, spec: pb.ModelSpec) -> AsyncIterator[NodeClient]:
    """A client of what serves at `address`, once it does."""
    async with open_channel(address) as channel:
        await channel.channel_ready()
        yield NodeClient(channel, spec)
