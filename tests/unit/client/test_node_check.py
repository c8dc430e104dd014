"""`orchestra node check` as people run it, against a node and a model-manager that the test writes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_manager_service_pb2 as models_pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as models_grpc
from orchestra.models.v1 import model_pb2
from orchestra_errors import FailedPrecondition, NotFound
from orchestra_rpc import Service

from .conftest import Running


class ScriptedNode(pb_grpc.InferenceServiceServicer):
    """Holds two models; measures as it is told to."""

    def __init__(self) -> None:
        self.models = ["small", "base"]
        self.asked: list[Any] = []
        self.busy: set[str] = set()
        self.hold = False
        self.measuring = threading.Event()
        self.released = threading.Event()
        self.unloaded = threading.Event()

    async def GetNode(self, request: pb.GetNodeRequest, context: Any) -> pb.GetNodeResponse:
        devices = [
            node_pb2.Device(
                device_id="cpu0",
                name="EPYC \x1b[2J",
                engine="llamacpp",
                engine_reason="the CPU is served by llama.cpp",
                memory_total_bytes=16_000_000_000,
                watts_declared=15.0,
            ),
            node_pb2.Device(device_id="V100", name="V100", reserved=True),
        ]
        workers = [self._worker(name) for name in self.models]
        return pb.GetNodeResponse(
            node=node_pb2.Node(
                node_id="desk",
                address="h:1",
                state=node_pb2.STATE_SERVING,
                devices=devices,
                workers=workers,
            )
        )

    def _worker(self, name: str) -> node_pb2.Worker:
        return node_pb2.Worker(
            model=name, engine="llamacpp", device_ids=["cpu0"], slots_total=4, quantization="Q4_1"
        )

    async def MeasureModel(
        self, request: pb.MeasureModelRequest, context: Any
    ) -> AsyncIterator[pb.MeasureModelResponse]:
        self.asked.append(request)
        if request.model not in self.models:
            raise NotFound("model", request.model, self.models)
        if request.model in self.busy:
            raise FailedPrecondition(f"model {request.model}", "is being measured already")
        try:
            yield pb.MeasureModelResponse(activity="1 request at once", total=2)
            self.measuring.set()
            if self.hold:
                await asyncio.Event().wait()
            done = pb.MeasureModelResponse(done=2, total=2)
            done.measured.at.add(parallel=1, per_second=118.25)
            done.measured.at.add(parallel=4, per_second=160.0)
            done.measured.first_token.FromMilliseconds(32)
            done.measured.load.FromMilliseconds(2500)
            done.measured.memory_bytes = 345_000_000
            yield done
        finally:
            self.released.set()

    async def LoadModel(
        self, request: pb.LoadModelRequest, context: Any
    ) -> AsyncIterator[pb.LoadModelResponse]:
        self.asked.append(request)
        self.models.append(request.spec.model)
        yield pb.LoadModelResponse(worker=self._worker(request.spec.model))

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Any) -> pb.UnloadModelResponse:
        self.asked.append(request)
        self.models.remove(request.model)
        self.unloaded.set()
        return pb.UnloadModelResponse(was_loaded=True)


class ScriptedManager(models_grpc.ModelManagerServiceServicer):
    """Places models on one node, and declares what one of them does."""

    def __init__(self) -> None:
        self.node_address = ""

    async def ListPlacements(
        self, request: models_pb.ListPlacementsRequest, context: Any
    ) -> models_pb.ListPlacementsResponse:
        placed = model_pb2.Placement(node_id="desk", node_address=self.node_address, model="small")
        return models_pb.ListPlacementsResponse(placements=[placed])

    async def GetModel(self, request: models_pb.GetModelRequest, context: Any) -> models_pb.GetModelResponse:
        if request.name != "small":
            raise NotFound("model", request.name)
        variant = model_pb2.ModelVariant(quantization="Q4_1", memory_bytes=400_000_000)
        model = model_pb2.Model(name="small", declared_tokens_per_second=130.0, variants=[variant])
        return models_pb.GetModelResponse(model=model)


class Host:
    """A node and a manager at one address."""

    def __init__(self) -> None:
        self.node = ScriptedNode()
        manager = ScriptedManager()  # type: ignore[abstract]
        self.running = Running(
            Service(
                "orchestra.inference.v1.InferenceService",
                pb_grpc.add_InferenceServiceServicer_to_server,
                self.node,
            ),
            Service(
                "orchestra.models.v1.ModelManagerService",
                models_grpc.add_ModelManagerServiceServicer_to_server,
                manager,
            ),
        )
        self.running.__enter__()
        self.address = manager.node_address = self.running.address

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-X", "utf8", "-m", "orchestra_client", "node", "check", *arguments]

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {"ORCHESTRA_MODEL_MANAGER": self.address}

    def check(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
        )


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.running.__exit__()


def lines_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_declared_stands_beside_measured(host: Host) -> None:
    done = host.check(host.address, "--tokens", "16", "--rounds", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert [(one.model, one.tokens, one.rounds) for one in host.node.asked] == [
        ("small", 16, 1),
        ("base", 16, 1),
    ]
    assert all(one.request_id for one in host.node.asked)
    words = lines_of(done.stdout)
    assert ["tokens/s,", "1", "at", "once", "130.0", "118.2"] in words
    assert ["tokens/s,", "4", "at", "once", "–", "160.0"] in words
    assert ["first", "token", "–", "32", "ms"] in words
    assert ["load", "–", "2.5", "s"] in words
    assert ["watts", "15.0", "–"] in words, "there is no meter"
    assert ["memory", "400", "MB", "345", "MB"] in words
    assert ["tokens/s,", "1", "at", "once", "–", "118.2"] in words, "nobody declares anything of base"
    assert "the CPU is served by llama.cpp" in done.stdout and "never used for models" in done.stdout
    assert "kept by desk" in done.stdout and "\x1b" not in done.stdout


def test_a_node_is_found_by_its_name_and_all_are_when_none_is_named(host: Host) -> None:
    assert host.check("desk", "-m", "small").returncode == 0
    assert host.check("-m", "small").returncode == 0
    assert [one.model for one in host.node.asked] == ["small", "small"]
    unknown = host.check("dsek")
    assert unknown.returncode == 2 and "nearest: desk" in unknown.stderr


def test_json_holds_everything(host: Host) -> None:
    done = host.check("desk", "--json")
    (told,) = json.loads(done.stdout)
    assert told["node"]["node_id"] == "desk" and told["failed"] == []
    small, base = told["models"]
    assert small["declared"] == {"per_second_1": 130.0, "watts": 15.0, "memory_bytes": 400_000_000}
    assert small["measured"]["at"][0] == {"parallel": 1, "per_second": 118.25}
    assert base["declared"] == {"watts": 15.0}


def test_what_cannot_be_measured_does_not_keep_the_rest_from_it(host: Host) -> None:
    host.node.busy.add("small")
    done = host.check("desk")
    assert done.returncode == 1
    assert "small: not measured: model small: is being measured already" in done.stdout
    assert "base: llamacpp on cpu0" in done.stdout
    assert done.stderr.startswith("error: model small: is being measured already")
    missing = host.check("desk", "-m", "smal")
    assert missing.returncode == 2 and "nearest: small,base" in missing.stderr.replace(", ", ",")


def test_a_file_is_loaded_measured_alone_and_unloaded(host: Host) -> None:
    done = host.check("desk", "--load", "/models/new-7b.gguf")
    assert done.returncode == 0 and "new-7b: llamacpp" in done.stdout
    load, measure, unload = host.node.asked
    assert (load.spec.model, load.spec.path) == ("new-7b", "/models/new-7b.gguf")
    assert (measure.model, unload.model) == ("new-7b", "new-7b")
    named = host.check("desk", "--load", "small=/models/s.gguf")
    assert named.returncode == 1 and "--model small" in named.stderr
    assert host.node.models == ["small", "base"], "what was there stays"


def test_what_is_missing_says_what_to_do(host: Host) -> None:
    host.node.models = []
    empty = host.check("desk")
    assert empty.returncode == 1 and "--load NAME=PATH" in empty.stderr
    nobody = host.check("127.0.0.1:1")
    assert nobody.returncode == 3
    assert nobody.stderr.startswith("error: nobody answers at 127.0.0.1:1\n")
    assert "is 127.0.0.1:1 the address of its daemon?" in nobody.stderr
    alone = subprocess.run(
        host.command(),
        env=os.environ | {"ORCHESTRA_MODEL_MANAGER": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert alone.returncode == 3 and "give the node's own address" in alone.stderr
    for wrong in (["--tokens", "7"], ["--load", "=x"], ["--load", "x", "-m", "small"]):
        assert host.check("desk", *wrong).returncode == 2


def test_an_interrupt_ends_the_measuring_and_unloads(host: Host) -> None:
    host.node.hold = True
    # a test run in the background of a script ignores it, and what it starts would, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        host.command("desk", "--load", "new=/m"), env=host.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert host.node.measuring.wait(30)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 130 and errors.strip().endswith(b"interrupted")
    assert host.node.released.wait(5) and host.node.unloaded.wait(5)
    assert host.node.models == ["small", "base"]
