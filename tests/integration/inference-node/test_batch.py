"""Many requests on one stream: labelled, packed, each ending by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import InvalidRequest
from orchestra_rpc import call_stream, unpack_status


def item(message: pb.GenerateBatchRequest, label: str, asked: pb.GenerateRequest) -> None:
    message.items.add(correlation_id=label, generation=asked.generation, hop=asked.hop)


async def run(
    client: Any, requests: AsyncIterator[pb.GenerateBatchRequest]
) -> list[pb.GenerateBatchResponse]:
    async with call_stream(client.stub.GenerateBatch(requests)) as answers:
        return [answer async for answer in answers]


async def one(message: pb.GenerateBatchRequest) -> AsyncIterator[pb.GenerateBatchRequest]:
    yield message


@pytest.mark.parametrize("through", ["node", "worker"])
async def test_every_sample_of_every_item_ends_once(through: str, node: Any, worker: Any) -> None:
    client = {"node": node, "worker": worker}[through]
    message = pb.GenerateBatchRequest()
    for number in range(20):
        item(message, f"i{number}", client.ask(seed=number, n=1 + number % 3, max_tokens=4))
    item(message, "bad", client.ask(max_tokens=-1))
    item(message, "elsewhere", client.ask(model="gpt-9"))
    answers = await run(client, one(message))
    ends: dict[str, list[tuple[int, str]]] = {}
    for answer in answers:
        for labelled in answer.events:
            kind = labelled.event.WhichOneof("event")
            if kind in ("finished", "sample_failed"):
                ends.setdefault(labelled.correlation_id, []).append((labelled.event.sample_index, kind))
    for number in range(20):
        assert sorted(ends[f"i{number}"]) == [(index, "finished") for index in range(1 + number % 3)]
    assert ends["bad"] == ends["elsewhere"] == [(0, "sample_failed")]
    assert any(len(answer.events) > 1 for answer in answers), "what is ready is packed"


async def test_items_answer_what_single_calls_answer(worker: Any) -> None:
    single = await worker.text(worker.ask(temperature=0))
    message = pb.GenerateBatchRequest()
    item(message, "a", worker.ask(temperature=0))
    events = [labelled.event for answer in await run(worker, one(message)) for labelled in answer.events]
    assert worker.text_of(events) == single
    assert events[0].HasField("started")


@pytest.mark.parametrize("through", ["node", "worker"])
async def test_an_item_can_be_cancelled_and_the_others_go_on(through: str, node: Any, worker: Any) -> None:
    client = {"node": node, "worker": worker}[through]
    started = asyncio.Event()
    first, second = (
        pb.GenerateBatchRequest(),
        pb.GenerateBatchRequest(cancel_correlation_ids=["endless", "unknown"]),
    )
    item(first, "endless", client.ask(max_tokens=900, grammar='root ::= "a" root', n=3))
    item(first, "short", client.ask(max_tokens=4))

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        yield first
        await started.wait()
        yield second

    ends = {}
    async with call_stream(client.stub.GenerateBatch(requests())) as answers:
        async for answer in answers:
            for labelled in answer.events:
                if labelled.event.HasField("text_delta") and labelled.correlation_id == "endless":
                    started.set()
                if labelled.event.HasField("finished") or labelled.event.HasField("sample_failed"):
                    ends[labelled.correlation_id, labelled.event.sample_index] = labelled.event
    assert ends["short", 0].HasField("finished")
    cancelled = [ends["endless", index].sample_failed for index in range(3)]
    assert {unpack_status(one.status).reason for one in cancelled} == {"CANCELLED"}
    assert any(one.usage.completion_tokens > 0 for one in cancelled), "what was consumed is said"


async def test_more_items_than_the_queue_holds_wait_their_turn(worker: Any) -> None:
    message = pb.GenerateBatchRequest()
    for number in range(30):
        item(message, str(number), worker.ask(max_tokens=2))
    answers = await run(worker, one(message))
    kinds = [labelled.event.WhichOneof("event") for answer in answers for labelled in answer.events]
    assert kinds.count("finished") == 30
    assert "sample_failed" not in kinds


async def test_an_item_without_a_name_ends_the_stream(worker: Any) -> None:
    message = pb.GenerateBatchRequest()
    item(message, "", worker.ask())
    with pytest.raises(InvalidRequest):
        await run(worker, one(message))


async def test_a_caller_that_goes_ends_all_its_items(node: Any, worker: Any) -> None:
    message = pb.GenerateBatchRequest()
    for number in range(10):
        item(message, str(number), worker.ask(max_tokens=900, grammar='root ::= "a" root'))
    async with call_stream(worker.stub.GenerateBatch(one(message))) as answers:
        async for answer in answers:
            if any(labelled.event.HasField("text_delta") for labelled in answer.events):
                break
    async with asyncio.timeout(5):
        await node.until(lambda seen: seen.workers[0].slots_free == 2 and seen.workers[0].queued == 0)
