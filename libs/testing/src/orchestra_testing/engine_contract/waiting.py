"""Who waits and who goes: the queue, priorities, deadlines, callers that leave."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import DeadlineExceeded, NoCapacity
from orchestra_rpc import call_stream
from orchestra_testing.engine_contract.given import Given, prompt_of
from orchestra_testing.nodes import Event, NodeClient, idle


class WaitingContract(Given):
    """Slots are held by those alone who use them."""

    async def test_a_client_that_goes_frees_its_slot(
        self, either: NodeClient, node: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        async with call_stream(either.stub.Generate(self.endless(either, can))) as answers:
            async for answer in answers:
                if answer.event.HasField("text_delta"):
                    break
            await node.until_worker(lambda seen: seen.slots_free < seen.slots_total)
        await node.until_worker(idle, seconds=5)

    async def test_a_client_that_goes_in_a_long_prefill_frees_its_slot(
        self, node: NodeClient, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        asked = worker.ask(await prompt_of(worker, can.context_tokens - 16))
        async with call_stream(worker.stub.Generate(asked)) as answers:
            async for answer in answers:
                if not answer.event.HasField("started"):
                    break
        await node.until_worker(idle, seconds=10)

    async def test_a_client_that_goes_while_it_waits_leaves_the_queue(
        self, node: NodeClient, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        async with self.every_slot_taken(node, can):
            waiting = asyncio.create_task(worker.events(worker.ask()))
            await node.until_worker(lambda seen: seen.queued == 1)
            waiting.cancel()
            await node.until_worker(lambda seen: seen.queued == 0)

    async def test_a_full_queue_refuses_with_a_time_to_retry(
        self, node: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        limit = (await node.worker()).queue_limit
        async with self.every_slot_taken(node, can):
            waiting = [asyncio.create_task(node.events(node.ask(max_tokens=1))) for _ in range(limit)]
            await node.until_worker(lambda seen: seen.queued == limit)
            for n in (1, 3):
                with pytest.raises(NoCapacity) as refusal:
                    await node.events(node.ask(n=n))
                assert refusal.value.status_code == "RESOURCE_EXHAUSTED" and refusal.value.retry_after
        assert all(events[-1].HasField("finished") for events in await asyncio.gather(*waiting))
        many = await node.events(node.ask(n=limit + 4, max_tokens=1))
        ended = [event for event in many if event.HasField("finished")]
        assert len(ended) == limit + 4, "the limit is on requests"

    async def test_who_waits_is_told_so_and_high_priority_goes_first(
        self, node: NodeClient, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        low, high = worker.ask(max_tokens=2), worker.ask(max_tokens=2)
        low.generation.priority = request_pb2.PRIORITY_LOW
        high.generation.priority = request_pb2.PRIORITY_HIGH
        ended: list[str] = []

        async def follow(name: str, asked: pb.GenerateRequest) -> list[Event]:
            events = await worker.events(asked)
            ended.append(name)
            return events

        async with self.every_slot_taken(node, can) as running:
            first = asyncio.create_task(follow("low", low))
            await node.until_worker(lambda seen: seen.queued == 1)
            second = asyncio.create_task(follow("high", high))
            await node.until_worker(lambda seen: seen.queued == 2)
            # one slot: the second begins when the first has ended
            running[0].cancel()
            waited = await first
            await second
        assert ended == ["high", "low"]
        beats = [event.heartbeat for event in waited if event.HasField("heartbeat")]
        assert beats[0].activity == event_pb2.ACTIVITY_QUEUED and beats[0].HasField("ahead")
        assert waited[-1].finished.timings.queued.ToNanoseconds() > 0

    async def test_an_expired_deadline_ends_the_work(
        self, node: NodeClient, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        with pytest.raises(DeadlineExceeded):
            await worker.events(self.endless(worker, can), timeout=0.7)
        await node.until_worker(idle, seconds=5)

    async def test_what_cannot_begin_in_time_is_refused_at_once(
        self, alone: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        """A model of its own, so that all it has seen is one answer."""
        longer = self.endless(alone, can)
        longer.generation.sampling.max_tokens = 48
        begin = time.monotonic()
        await alone.events(longer)
        took = time.monotonic() - begin
        async with self.every_slot_taken(alone, can):
            before = alone.ask()
            before.generation.priority = request_pb2.PRIORITY_HIGH
            waiting = [asyncio.create_task(alone.events(before)) for _ in range(3)]
            await alone.until_worker(lambda seen: seen.queued == 3)
            with pytest.raises(NoCapacity) as refusal:
                # three are before it, and each is expected to take as long as the one that was seen
                await alone.events(alone.ask(), timeout=1.5 * took)
            assert refusal.value.retry_after
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
