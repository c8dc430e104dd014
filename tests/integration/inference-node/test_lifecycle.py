"""The daemon itself: registration, traces, one clear line for what is wrong at start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.models.v1 import model_manager_service_pb2 as models
from orchestra.models.v1 import model_manager_service_pb2_grpc as models_grpc
from orchestra_rpc import RpcSettings, Service, running
from orchestra_testing import OtlpReceiver
from orchestra_testing.otlp import ERROR


class Manager(models_grpc.ModelManagerServiceServicer):
    """Records what nodes report."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[Any] = asyncio.Queue()

    async def RegisterNode(self, requests: Any, context: Any) -> AsyncIterator[models.RegisterNodeResponse]:
        async for request in requests:
            await self.reports.put(request.node)
            answer = models.RegisterNodeResponse(lease_id="lease")
            answer.lease.FromMilliseconds(900)
            yield answer


def manager_service(manager: Manager) -> Service:
    add = models_grpc.add_ModelManagerServiceServicer_to_server
    return Service("orchestra.models.v1.ModelManagerService", add, manager)


async def test_a_node_reports_itself_renews_and_finds_the_manager_again(tmp_path: Path, start: Any) -> None:
    settings = RpcSettings(listen="127.0.0.1:0", drain_s=0)
    first = Manager()  # type: ignore[abstract]
    async with running([manager_service(first)], settings=settings) as server:
        address = server.address
        process, client = await start(tmp_path, manager=address)
        node = await asyncio.wait_for(first.reports.get(), 20)
        assert (node.node_id, node.address) == ("test-node", process.address)
        again = await asyncio.wait_for(first.reports.get(), 20)
        assert again.instance_id == node.instance_id
        await client.load()
        while not (seen := await asyncio.wait_for(first.reports.get(), 20)).workers:
            pass
        while not seen.workers[0].address:
            seen = await asyncio.wait_for(first.reports.get(), 20)
    assert (await client.events(client.ask()))[-1].HasField("finished"), "a node works without its manager"
    second = Manager()  # type: ignore[abstract]
    async with running([manager_service(second)], settings=RpcSettings(listen=address, drain_s=0)):
        back = await asyncio.wait_for(second.reports.get(), 20)
        assert back.workers[0].model == "smollm2-135m"


async def test_a_request_is_one_trace_from_daemon_to_engine(tmp_path: Path, start: Any) -> None:
    with OtlpReceiver() as receiver:
        _, client = await start(tmp_path, ORCHESTRA_OTLP_ENDPOINT=f"http://{receiver.address}")
        await client.load()
        events = await client.events(client.ask(max_tokens=3))
        trace = events[0].started.provenance.trace_id
        endless = client.ask(max_tokens=900, grammar='root ::= "a" root')
        running_call = asyncio.create_task(client.events(endless))
        await client.until(lambda seen: seen.workers[0].slots_free == 1)
        running_call.cancel()
        await client.until(lambda seen: seen.workers[0].slots_free == 2)
        spans = await asyncio.to_thread(
            receiver.wait_for, lambda seen: min(len(engine_spans(seen)), len(daemon_calls(seen))) >= 2
        )
    whole = next(one for one in engine_spans(spans) if one.trace_id == trace)
    cut = next(one for one in engine_spans(spans) if one.trace_id != trace)
    assert whole.service == "inference-node-worker" and whole.status != ERROR
    assert cut.status == ERROR
    assert {one.service for one in spans if one.trace_id == trace} == {
        "inference-node",
        "inference-node-worker",
    }


def daemon_calls(spans: Any) -> list[Any]:
    return [one for one in spans if one.service == "inference-node" and one.name.endswith("/Generate")]


def engine_spans(spans: Any) -> list[Any]:
    return [one for one in spans if one.name == "chat smollm2-135m"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ORCHESTRA_NODE_ID": "nobody"}, "nobody"),
        ({"ORCHESTRA_CONFIG": "/nowhere/orchestra.yaml"}, "/nowhere/orchestra.yaml"),
        ({"ORCHESTRA_METRICS_PORT": "-1"}, "ORCHESTRA_METRICS_PORT"),
    ],
)
def test_a_wrong_start_is_one_clear_message(settings: dict[str, str], says: str, tmp_path: Path) -> None:
    config = tmp_path / "orchestra.yaml"
    config.write_text("nodes:\n  - {id: a, address: '127.0.0.1:1', devices: [{id: c, kind: cpu}]}\n")
    env = os.environ | {"ORCHESTRA_CONFIG": str(config)} | settings
    done = subprocess.run(
        [sys.executable, "-m", "orchestra_inference_node"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "orchestra_inference_node"],
            env=os.environ
            | {"ORCHESTRA_LISTEN": address, "ORCHESTRA_CONFIG": "", "ORCHESTRA_METRICS_PORT": "0"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert address in done.stderr and "in use" in done.stderr
    assert "Traceback" not in done.stderr
