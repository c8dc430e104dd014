"""What ends before its time: workers whose daemon dies, loads of files that are not whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from orchestra.generation.v1.event_pb2 import GenerationEvent
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import OrchestraError
from orchestra_rpc import call_stream


async def test_workers_die_with_their_daemon(own_node: Any) -> None:
    process, client = own_node
    await client.load()
    pid = process.worker_pid((await client.worker()).address)
    child = psutil.Process(pid)
    process.process.kill()
    process.process.wait()
    await asyncio.to_thread(psutil.wait_procs, [child], 10)
    assert not child.is_running()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("magic", "DATA_LOSS"),
        ("short", "DATA_LOSS"),
        ("missing", "NOT_FOUND"),
        ("revision", "FAILED_PRECONDITION"),
    ],
)
async def test_a_wrong_file_is_refused_before_any_worker_starts(
    change: str, kind: str, node: Any, tmp_path: Any
) -> None:
    whole = node.spec_of().path
    path = tmp_path / "model.gguf"
    spec: dict[str, object] = {"model": f"bad-{change}", "path": str(path)}
    head = Path(whole).read_bytes()[:8_000_000]
    match change:
        case "magic":
            path.write_bytes(b"GGML" + head)
        case "short":
            path.write_bytes(head)
        case "revision":
            spec |= {"path": whole, "expected_revision": "sha256:" + "0" * 64}
    stages = []
    with pytest.raises(OrchestraError) as refused:
        async with call_stream(node.stub.LoadModel(pb.LoadModelRequest(spec=node.spec_of(**spec)))) as moves:
            async for move in moves:
                stages.append(move.progress.stage)
    assert refused.value.status_code == kind
    assert set(stages) <= {node_pb2.LOAD_STAGE_VERIFYING}
    assert [worker.model for worker in (await node.node()).workers] == ["smollm2-135m"]


@pytest.mark.parametrize("through", ["the daemon", "the worker"])
async def test_a_stream_that_breaks_says_what_its_sample_had_consumed(
    through: str, own_node: Any, worker_of: Any
) -> None:
    _, node = own_node
    await node.load()
    async with worker_of(node) as worker:
        client = node if through == "the daemon" else worker
        call = client.stub.Generate(client.ask(max_tokens=900, grammar='root ::= "a" root'))
        begun = False
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            async for answer in call:
                if answer.event.HasField("text_delta") and not begun:
                    begun = True
                    await node.unload(drain_s=0.1)
    assert cut.value.code() == grpc.StatusCode.UNAVAILABLE
    told = [value for key, value in cut.value.trailing_metadata() if key == "orchestra-unfinished-bin"]
    (event,) = map(GenerationEvent.FromString, told)
    usage, timings = event.sample_failed.usage, event.sample_failed.timings
    assert usage.completion_tokens > 0 and usage.prompt_tokens > 0
    assert 0 < timings.device_share.ToMicroseconds() <= timings.total.ToMicroseconds()


async def test_an_operator_sees_that_a_stream_that_is_gone_left_nothing(own_node: Any) -> None:
    process, client = own_node
    await client.load()
    label = f'{{model="{client.model}"}}'

    def figure(name: str) -> float:
        return float(process.figures(f"orchestra_worker_{name}").get(label, 0.0))

    running = asyncio.create_task(client.events(client.ask(max_tokens=900, grammar='root ::= "a" root')))
    await client.until_worker(lambda _: figure("calls") == 1 and figure("slots_free") == 1)
    await client.until_worker(lambda _: figure("tasks") > 0)
    tasks = figure("tasks")
    running.cancel()
    await client.until_worker(lambda _: figure("calls") == 0 and 0 < figure("tasks") <= tasks)
    assert figure("slots_free") == 2


async def test_progress_moves_through_every_stage(own_node: Any) -> None:
    _, client = own_node
    moves = await client.load()
    stages = [move.progress.stage for move in moves]
    assert stages == sorted(stages)
    assert set(stages) >= {node_pb2.LOAD_STAGE_VERIFYING, node_pb2.LOAD_STAGE_LOADING_WEIGHTS}
    assert stages[-1] == node_pb2.LOAD_STAGE_READY
    assert len({move.progress.bytes_done for move in moves}) > 3
    assert moves[-1].worker.address and moves[-1].worker.capabilities.context_tokens == 1024
