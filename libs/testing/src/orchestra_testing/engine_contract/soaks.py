"""Long use leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from typing import ClassVar

import pytest

from orchestra_errors import NoCapacity
from orchestra_rpc import call_stream
from orchestra_testing.engine_contract.given import Given, long_prompt
from orchestra_testing.nodes import NodeClient, NodeProcess, idle

_AT_ONCE = 12
# what an allocator keeps after a warm-up, and not what thousands of leaks of anything would take
_GROWTH_BYTES = 24_000_000
# gRPC keeps some for each stream of those that ran at once, in both processes; it was seen to stay at 20 over
# 3,000 streams. Not what one task for each of the streams would be
_OWN_TASKS = 4 * _AT_ONCE


class SoakContract(Given):
    """Thousands of streams that nobody reads to their end."""

    soak_streams: ClassVar[int] = 500

    @pytest.mark.long
    @pytest.mark.timeout(1500)
    async def test_many_cancelled_streams_leave_nothing(
        self, daemon: NodeProcess, node: NodeClient, worker: NodeClient
    ) -> None:
        await _cancel_many([node, worker], self.soak_streams // 10, seed=1)
        before = await node.until_worker(lambda seen: idle(seen) and _quiet(daemon, seen.model), seconds=15)
        tasks, memory = _tasks(daemon, before.model), daemon.memory_bytes()
        await _cancel_many([node, worker], self.soak_streams, seed=2)
        await node.until_worker(idle, seconds=5)
        after = await node.until_worker(
            lambda seen: _quiet(daemon, seen.model) and _tasks(daemon, seen.model) <= tasks + _OWN_TASKS,
            seconds=15,
        )
        assert after.restarts == before.restarts
        assert daemon.memory_bytes() - memory < _GROWTH_BYTES
        assert await worker.text(worker.ask(temperature=0))


def _quiet(daemon: NodeProcess, model: str) -> bool:
    """Whether the worker answers nobody, and has counted its tasks since."""
    label = f'{{model="{model}"}}'
    return daemon.figures("orchestra_worker_calls")[label] == 0 < _tasks(daemon, model)


def _tasks(daemon: NodeProcess, model: str) -> float:
    """Of the worker and of the daemon."""
    own = daemon.figures("orchestra_node_tasks")[""]
    return daemon.figures("orchestra_worker_tasks")[f'{{model="{model}"}}'] + own


async def _cancelled_at_random(client: NodeClient, chance: random.Random) -> None:
    """One stream that is given up in the queue, in its prefill, in its decode, or right at its end."""
    tokens = chance.choice([1, 2, 8, 64])
    prompt = long_prompt(chance.choice([1, 1, 1, 90]))
    asked = client.ask(prompt, max_tokens=tokens, n=chance.choice([1, 1, 2]))
    events_left = chance.randrange(tokens + 3)
    try:
        async with call_stream(client.stub.Generate(asked)) as answers:
            async for _ in answers:
                events_left -= 1
                if events_left < 0:
                    break
    except NoCapacity:
        return


async def _cancel_many(clients: list[NodeClient], count: int, seed: int) -> None:
    chance = random.Random(seed)
    left = iter(range(count))

    async def work(client: NodeClient) -> None:
        for _ in left:
            await _cancelled_at_random(client, chance)

    await asyncio.gather(*(work(clients[at % len(clients)]) for at in range(_AT_ONCE)))
