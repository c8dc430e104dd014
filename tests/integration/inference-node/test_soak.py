"""Long use leaves nothing behind: a prefill that is given up, hundreds of loads and unloads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_rpc import call_stream, call_unary
from orchestra_testing import model_file

LOADS = 200


def idle(node: node_pb2.Node) -> bool:
    return all(worker.slots_free == worker.slots_total and not worker.queued for worker in node.workers)


async def test_a_cancel_in_a_prefill_of_1800_tokens_frees_the_slot(own_node: Any, worker_of: Any) -> None:
    _, node = own_node
    await node.load(context_tokens=2048, slots=1)
    async with worker_of(node) as worker:
        async with call_stream(worker.stub.Generate(worker.ask("word " * 1800))) as answers:
            async for answer in answers:
                if answer.event.heartbeat.prompt_tokens_done > 0:
                    assert answer.event.heartbeat.prompt_tokens_total > 1800
                    break
        # promised within 1 s
        async with asyncio.timeout(5):
            await node.until(idle)


@pytest.mark.long
@pytest.mark.timeout(2400)
async def test_200_loads_and_unloads_while_a_third_model_serves(own_node: Any) -> None:
    process, node = own_node
    await node.load(model="third", slots=1, context_tokens=256)
    served = 0
    stop = asyncio.Event()

    async def steady() -> None:
        nonlocal served
        while not stop.is_set():
            events = await node.events(node.ask(model="third", max_tokens=4))
            assert events[-1].HasField("finished")
            served += 1

    async def turn(name: str, path: Path, times: int) -> None:
        for _ in range(times):
            await node.load(model=name, path=str(path), chat=False, slots=1, context_tokens=256)
            gone = await call_unary(node.stub.UnloadModel(pb.UnloadModelRequest(model=name)))
            assert gone.was_loaded

    async def both(times: int) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(turn("first", model_file("smollm2-135m"), times))
            group.create_task(turn("second", model_file("gemma3-270m"), times))

    load = asyncio.create_task(steady())
    await both(4)
    before = process.memory_bytes()
    await both(LOADS // 2)
    after = process.memory_bytes()
    stop.set()
    await load
    assert served > LOADS
    assert abs(after - before) <= 0.05 * before
    assert [worker.model for worker in (await node.node()).workers] == ["third"]
