"""A manager as a real process, and a node that registers and loads as the contract says."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from orchestra.inference.v1 import inference_service_pb2 as inference
from orchestra.inference.v1 import inference_service_pb2_grpc as inference_grpc
from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
from orchestra_errors import Unavailable
from orchestra_rpc import RpcSettings, Service, open_channel, running

DEPLOYMENT = """
name: test
nodes:
  - {{id: node-a, address: "127.0.0.1:1", engine: simulated, devices: [{{id: cpu0, kind: cpu, watts: 15}}]}}
models:
  - {{name: small, path: /models/small.gguf, family: tiny, size: 100MB, context: 2048, parallel: 2}}
  - {{name: other, path: /models/other.gguf, family: tiny, size: 100MB}}
  - {{name: huge, path: /models/huge.gguf, size: 900GB}}
placements:
  - {{model: small, node: node-a, max_batch_size: 4, pinned: true}}
services:
  model_manager: {{node_lease_s: {lease_s}, reconcile_s: 1, drain_s: 5}}
"""


class RecordingNode(inference_grpc.InferenceServiceServicer):
    """Loads at once what it is told to, reports it, and remembers the order of what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fail: set[str] = set()
        self.workers: dict[str, node_pb2.Worker] = {}
        self.address = ""
        self.instance = "one"
        self.idle_watts: float | None = None
        self.changed = asyncio.Event()

    def report(self) -> node_pb2.Node:
        return node_pb2.Node(
            node_id="node-a",
            instance_id=self.instance,
            address=self.address,
            state=node_pb2.STATE_SERVING,
            devices=[
                node_pb2.Device(
                    device_id="cpu0",
                    kind=node_pb2.DEVICE_KIND_CPU,
                    memory_total_bytes=10_000_000_000,
                    watts_measured=self.idle_watts,
                )
            ],
            workers=list(self.workers.values()),
        )

    async def LoadModel(self, request, context):
        self.asked.append(f"load {request.spec.model}")
        yield inference.LoadModelResponse(
            progress=node_pb2.LoadProgress(stage=node_pb2.LOAD_STAGE_LOADING_WEIGHTS)
        )
        if request.spec.model in self.fail:
            raise Unavailable(f"{request.spec.path}: no such file")
        worker = node_pb2.Worker(
            worker_id=f"node-a/{request.spec.model}",
            instance_id=f"{self.instance}-{len(self.asked)}",
            address="127.0.0.1:2",
            model=request.spec.model,
            revision="sha256:00",
            state=node_pb2.STATE_SERVING,
            device_ids=["cpu0"],
            slots_total=request.spec.slots,
        )
        self.workers[request.spec.model] = worker
        self.changed.set()
        yield inference.LoadModelResponse(
            progress=node_pb2.LoadProgress(stage=node_pb2.LOAD_STAGE_READY), worker=worker
        )

    async def UnloadModel(self, request, context):
        self.asked.append(f"unload {request.model}")
        was = self.workers.pop(request.model, None) is not None
        self.changed.set()
        return inference.UnloadModelResponse(was_loaded=was)

    async def register(self, stub) -> None:
        """Until cancelled: report at once, on change, and often enough for a lease of a second."""

        async def reports() -> AsyncIterator[pb.RegisterNodeRequest]:
            while True:
                self.changed.clear()
                yield pb.RegisterNodeRequest(node=self.report())
                try:
                    async with asyncio.timeout(0.3):
                        await self.changed.wait()
                except TimeoutError:
                    continue

        call = stub.RegisterNode(reports())
        try:
            async for _ in call:
                pass
        finally:
            call.cancel()


class Manager:
    """`start` again after `kill` finds the same state folder."""

    def __init__(self, folder: Path, port: int, lease_s: float) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{port}"
        (folder / "orchestra.yaml").write_text(DEPLOYMENT.format(lease_s=lease_s))
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestra_model_manager",
            env={
                **os.environ,
                "ORCHESTRA_CONFIG": str(self._folder / "orchestra.yaml"),
                "ORCHESTRA_LISTEN": self.address,
                "ORCHESTRA_METRICS_PORT": "0",
                "ORCHESTRA_STATE_DIR": str(self._folder / "state"),
            },
        )
        async with grpc.aio.insecure_channel(self.address) as channel:
            async with asyncio.timeout(20):
                await channel.channel_ready()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    made = Manager(tmp_path, free_port(), lease_s=2)
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def stub(manager: Manager):
    channel = open_channel(manager.address)
    yield pb_grpc.ModelManagerServiceStub(channel)
    await channel.close()


@pytest.fixture
async def node() -> AsyncIterator[RecordingNode]:
    made = RecordingNode()
    service = Service(
        "orchestra.inference.v1.InferenceService",
        inference_grpc.add_InferenceServiceServicer_to_server,
        made,
    )
    async with running([service], settings=RpcSettings(listen="127.0.0.1:0", drain_s=0)) as server:
        made.address = server.address
        yield made


@pytest.fixture
async def registered(node: RecordingNode, stub) -> AsyncIterator[RecordingNode]:
    task = asyncio.create_task(node.register(stub))
    yield node
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def board(stub) -> Callable[..., Awaitable[list]]:
    async def until(condition, seconds: float = 20.0) -> list:
        """The placements as soon as they meet the condition."""
        call = stub.WatchPlacements(pb.WatchPlacementsRequest())
        try:
            async with asyncio.timeout(seconds):
                async for message in call:
                    if condition({one.placement_id: one for one in message.placements}):
                        return list(message.placements)
        finally:
            call.cancel()
        raise AssertionError("the watch ended")

    return until
