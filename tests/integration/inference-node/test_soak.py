"""Long use leaves nothing behind: thousands of cancelled streams, hundreds of loads and unloads."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import NoCapacity
from orchestra_rpc import call_stream, call_unary
from orchestra_testing import model_file

STREAMS = 5_000
AT_ONCE = 12
LOADS = 200
# what an allocator keeps after a warm-up, and not what five thousand leaks of anything would take
GROWTH_BYTES = 24_000_000


def resident(daemon: int) -> int:
    """Bytes of the daemon and of its workers."""
    process = psutil.Process(daemon)
    return sum(one.memory_info().rss for one in [process, *process.children()])


def idle(node: node_pb2.Node) -> bool:
    return all(worker.slots_free == worker.slots_total and not worker.queued for worker in node.workers)


async def cancelled_at_random(client: Any, chance: random.Random) -> None:
    """One stream that is given up in the queue, in its prefill, in its decode, or right at its end."""
    tokens = chance.choice([1, 2, 8, 64])
    asked = client.ask("word " * chance.choice([1, 1, 1, 90]), max_tokens=tokens, n=chance.choice([1, 1, 2]))
    events_left = chance.randrange(tokens + 3)
    try:
        async with call_stream(client.stub.Generate(asked)) as answers:
            async for _ in answers:
                events_left -= 1
                if events_left < 0:
                    break
    except NoCapacity:
        return


async def cancel_many(clients: list[Any], count: int, seed: int) -> None:
    chance = random.Random(seed)
    left = iter(range(count))

    async def work(client: Any) -> None:
        for _ in left:
            await cancelled_at_random(client, chance)

    await asyncio.gather(*(work(clients[at % len(clients)]) for at in range(AT_ONCE)))


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_five_thousand_cancelled_streams_leave_nothing(own_node: Any, worker_of: Any) -> None:
    process, node = own_node
    await node.load(slots=4, queue_limit=64)
    async with worker_of(node) as worker:
        await cancel_many([node, worker], 500, seed=1)
        async with asyncio.timeout(5):
            await node.until(idle)
        before = resident(process.process.pid)
        await cancel_many([node, worker], STREAMS, seed=2)
        async with asyncio.timeout(5):
            seen = await node.until(idle)
        assert seen.workers[0].restarts == 0
        assert resident(process.process.pid) - before < GROWTH_BYTES
        assert await worker.text(worker.ask("1, 2, 3,", max_tokens=4, temperature=0))


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
    before = resident(process.process.pid)
    await both(LOADS // 2)
    after = resident(process.process.pid)
    stop.set()
    await load
    assert served > LOADS
    assert abs(after - before) <= 0.05 * before
    assert [worker.model for worker in (await node.node()).workers] == ["third"]
