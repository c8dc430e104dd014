"""Many requests on one stream: labelled, packed, each ending by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import InvalidRequest
from orchestra_rpc import call_stream, unpack_status
from orchestra_testing.engine_contract.given import Given
from orchestra_testing.nodes import NodeClient, idle


def item(message: pb.GenerateBatchRequest, label: str, asked: pb.GenerateRequest) -> None:
    """Add a request to a message of a batch."""
    message.items.add(correlation_id=label, generation=asked.generation, hop=asked.hop)


async def run_batch(client: NodeClient, *messages: pb.GenerateBatchRequest) -> list[pb.GenerateBatchResponse]:
    """Send the messages, half-close, and read to the end."""

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        for message in messages:
            yield message

    async with call_stream(client.stub.GenerateBatch(requests())) as answers:
        return [answer async for answer in answers]


def ends_of(answers: list[pb.GenerateBatchResponse]) -> dict[str, list[tuple[int, str]]]:
    """How every sample of each item ended, by label."""
    ends: dict[str, list[tuple[int, str]]] = {}
    for labelled in (one for answer in answers for one in answer.events):
        kind = labelled.event.WhichOneof("event")
        if kind in ("finished", "sample_failed"):
            ends.setdefault(labelled.correlation_id, []).append((labelled.event.sample_index, kind))
    return ends


class BatchContract(Given):
    """No item of a batch disturbs another."""

    async def test_every_sample_of_every_item_ends_once(self, either: NodeClient) -> None:
        message = pb.GenerateBatchRequest()
        for number in range(20):
            item(message, f"i{number}", either.ask(seed=number, n=1 + number % 3, max_tokens=4))
        item(message, "bad", either.ask(max_tokens=-1))
        item(message, "elsewhere", either.ask(model="gpt-9"))
        answers = await run_batch(either, message)
        ends = ends_of(answers)
        for number in range(20):
            assert sorted(ends[f"i{number}"]) == [(index, "finished") for index in range(1 + number % 3)]
        assert ends["bad"] == ends["elsewhere"] == [(0, "sample_failed")]
        assert any(len(answer.events) > 1 for answer in answers), "what is ready is packed"

    async def test_items_answer_what_single_calls_answer(self, worker: NodeClient) -> None:
        single = await worker.text(worker.ask(temperature=0))
        message = pb.GenerateBatchRequest()
        item(message, "a", worker.ask(temperature=0))
        events = [one.event for answer in await run_batch(worker, message) for one in answer.events]
        assert worker.text_of(events) == single
        assert events[0].HasField("started")

    async def test_one_item_is_cancelled_and_the_others_go_on(
        self, either: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        endless = self.endless(either, can)
        endless.generation.sampling.n = 3
        first = pb.GenerateBatchRequest()
        second = pb.GenerateBatchRequest(cancel_correlation_ids=["endless", "unknown"])
        item(first, "endless", endless)
        item(first, "short", either.ask(max_tokens=4))
        drawing = asyncio.Event()

        async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
            yield first
            await drawing.wait()
            yield second

        ends: dict[tuple[str, int], event_pb2.GenerationEvent] = {}
        async with call_stream(either.stub.GenerateBatch(requests())) as answers:
            async for labelled in (one async for answer in answers for one in answer.events):
                event = labelled.event
                if event.HasField("text_delta") and labelled.correlation_id == "endless":
                    drawing.set()
                if event.HasField("finished") or event.HasField("sample_failed"):
                    ends[labelled.correlation_id, event.sample_index] = event
        assert ends["short", 0].HasField("finished")
        cancelled = [ends["endless", index].sample_failed for index in range(3)]
        assert {unpack_status(one.status).reason for one in cancelled} == {"CANCELLED"}
        assert any(one.usage.completion_tokens > 0 for one in cancelled), "what was consumed is said"

    async def test_items_beyond_the_queue_wait_their_turn(self, worker: NodeClient, node: NodeClient) -> None:
        served = await node.worker()
        many = served.slots_total + 3 * served.queue_limit
        message = pb.GenerateBatchRequest()
        for number in range(many):
            item(message, str(number), worker.ask(max_tokens=2))
        ends = ends_of(await run_batch(worker, message))
        assert list(ends.values()) == [[(0, "finished")]] * many

    async def test_an_item_without_a_name_ends_the_stream(self, worker: NodeClient) -> None:
        message = pb.GenerateBatchRequest()
        item(message, "", worker.ask())
        with pytest.raises(InvalidRequest):
            await run_batch(worker, message)

    async def test_a_caller_that_goes_ends_all_its_items(
        self, node: NodeClient, worker: NodeClient, can: node_pb2.Capabilities
    ) -> None:
        message = pb.GenerateBatchRequest()
        for number in range(10):
            item(message, str(number), self.endless(worker, can))

        async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
            yield message

        async with call_stream(worker.stub.GenerateBatch(requests())) as answers:
            async for answer in answers:
                if any(one.event.HasField("text_delta") for one in answer.events):
                    break
        await node.until_worker(idle, seconds=5)
