"""What ends before its time: clients that go, deadlines, workers that die, models that are unloaded."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import DeadlineExceeded, FailedPrecondition, NotFound, OrchestraError, WorkerLost
from orchestra_rpc import call_stream, call_unary


def idle(node: node_pb2.Node) -> bool:
    return all(worker.slots_free == worker.slots_total and not worker.queued for worker in node.workers)


def busy(node: node_pb2.Node) -> bool:
    return node.workers[0].slots_free < node.workers[0].slots_total


@pytest.mark.parametrize("through", ["node", "worker"])
async def test_a_client_that_goes_frees_its_slot(through: str, node: Any, worker: Any) -> None:
    client = {"node": node, "worker": worker}[through]
    endless = client.ask(max_tokens=900, grammar='root ::= "a" root')
    async with call_stream(
        client.stub.Generate(pb.GenerateRequest.FromString(endless.SerializeToString()))
    ) as answers:
        async for answer in answers:
            if answer.event.HasField("text_delta"):
                break
        await node.until(busy)
    async with asyncio.timeout(5):
        await node.until(idle)


async def test_a_client_that_goes_while_it_waits_leaves_the_queue(node: Any, worker: Any) -> None:
    running = [asyncio.create_task(worker.events(worker.ask(max_tokens=60))) for _ in range(2)]
    await node.until(lambda seen: seen.workers[0].slots_free == 0)
    waiting = asyncio.create_task(worker.events(worker.ask()))
    await node.until(lambda seen: seen.workers[0].queued == 1)
    waiting.cancel()
    await node.until(lambda seen: seen.workers[0].queued == 0)
    assert all(events[-1].HasField("finished") for events in await asyncio.gather(*running))


async def test_a_cancel_in_a_long_prefill_frees_the_slot_at_the_next_chunk(node: Any, worker: Any) -> None:
    asked = worker.ask("word " * 600)
    async with call_stream(worker.stub.Generate(asked)) as answers:
        async for answer in answers:
            if answer.event.heartbeat.prompt_tokens_done > 0:
                assert answer.event.heartbeat.prompt_tokens_total == 601
                break
    async with asyncio.timeout(10):
        await node.until(idle)


async def test_an_expired_deadline_ends_the_work(node: Any, worker: Any) -> None:
    endless = worker.ask(max_tokens=900, grammar='root ::= "a" root')
    with pytest.raises(DeadlineExceeded):
        await worker.events(endless, timeout=0.7)
    async with asyncio.timeout(5):
        await node.until(idle)


async def test_a_killed_worker_fails_only_its_own_requests_and_comes_back(own_node: Any) -> None:
    _, client = own_node
    await client.load()
    await client.load(model="other", slots=1)
    victim = next(worker for worker in (await client.node()).workers if worker.model == "smollm2-135m")
    endless = client.ask(max_tokens=900, grammar='root ::= "a" root')
    spared = asyncio.create_task(client.events(client.ask(model="other", max_tokens=60)))
    running = asyncio.create_task(client.events(endless))
    batch = pb.GenerateBatchRequest()
    batch.items.add(correlation_id="b", generation=endless.generation)

    async def follow_batch() -> list[Any]:
        async def requests() -> Any:
            yield batch

        async with call_stream(client.stub.GenerateBatch(requests())) as answers:
            return [labelled async for answer in answers for labelled in answer.events]

    in_batch = asyncio.create_task(follow_batch())
    await client.until(
        lambda seen: any(w.model == "smollm2-135m" and w.slots_free == 0 for w in seen.workers)
    )
    os.kill(worker_process(own_node[0].process.pid, victim.address), signal.SIGKILL)
    async with asyncio.timeout(5):
        with pytest.raises(WorkerLost) as lost:
            await running
        last = (await in_batch)[-1]
    assert lost.value.status_code == "UNAVAILABLE" and lost.value.retry_after
    assert last.event.HasField("sample_failed") and last.correlation_id == "b"
    assert (await spared)[-1].HasField("finished")
    async with asyncio.timeout(30):
        back = await client.until(
            lambda seen: any(
                w.model == "smollm2-135m" and w.restarts == 1 and w.address for w in seen.workers
            )
        )
    again = next(worker for worker in back.workers if worker.model == "smollm2-135m")
    assert again.worker_id == victim.worker_id
    assert again.instance_id != victim.instance_id
    assert (await client.events(client.ask()))[-1].HasField("finished")


async def test_workers_die_with_their_daemon(own_node: Any) -> None:
    process, client = own_node
    await client.load()
    pid = worker_process(process.process.pid, (await client.worker()).address)
    child = psutil.Process(pid)
    process.process.kill()
    process.process.wait()
    await asyncio.to_thread(psutil.wait_procs, [child], 10)
    assert not child.is_running()


async def test_unload_drains_ends_the_process_and_says_what_it_freed(own_node: Any) -> None:
    process, client = own_node
    await client.load()
    pid = worker_process(process.process.pid, (await client.worker()).address)
    running = asyncio.create_task(client.events(client.ask(max_tokens=100)))
    await client.until(busy)
    asked = pb.UnloadModelRequest(model="smollm2-135m")
    asked.drain.FromSeconds(30)
    done = await call_unary(client.stub.UnloadModel(asked))
    assert done.was_loaded and done.memory_freed_bytes > 50_000_000 and done.cancelled_requests == 0
    assert (await running)[-1].HasField("finished"), "what ran was let finish"
    assert not psutil.pid_exists(pid)
    with pytest.raises(NotFound):
        await client.events(client.ask())
    assert not (await call_unary(client.stub.UnloadModel(asked))).was_loaded


async def test_an_unload_cuts_what_outlasts_the_drain(own_node: Any) -> None:
    _, client = own_node
    await client.load()
    endless = client.ask(max_tokens=900, grammar='root ::= "a" root')
    running = asyncio.create_task(client.events(endless))
    await client.until(busy)
    asked = pb.UnloadModelRequest(model="smollm2-135m")
    asked.drain.FromMilliseconds(100)
    done = await call_unary(client.stub.UnloadModel(asked))
    assert done.cancelled_requests == 1
    with pytest.raises(OrchestraError) as cut:
        await running
    assert cut.value.status_code == "UNAVAILABLE"


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


async def test_a_model_is_held_in_one_way(node: Any) -> None:
    again = await node.load()
    assert again[-1].progress.stage == node_pb2.LOAD_STAGE_READY
    with pytest.raises(FailedPrecondition):
        await node.load(slots=1)


async def test_progress_moves_through_every_stage(own_node: Any) -> None:
    _, client = own_node
    moves = await client.load()
    stages = [move.progress.stage for move in moves]
    assert stages == sorted(stages)
    assert set(stages) >= {node_pb2.LOAD_STAGE_VERIFYING, node_pb2.LOAD_STAGE_LOADING_WEIGHTS}
    assert stages[-1] == node_pb2.LOAD_STAGE_READY
    assert len({move.progress.bytes_done for move in moves}) > 3
    assert moves[-1].worker.address and moves[-1].worker.capabilities.context_tokens == 1024


def worker_process(daemon: int, address: str) -> int:
    """The child of the daemon that listens on `address`."""
    port = int(address.rpartition(":")[2])
    for child in psutil.Process(daemon).children():
        if any(
            one.laddr.port == port for one in child.net_connections("tcp") if one.status == psutil.CONN_LISTEN
        ):
            return child.pid
    raise AssertionError(f"nobody listens on {address}")
