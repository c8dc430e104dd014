"""Many items on one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as pb
from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra_errors import InvalidRequest
from orchestra_rpc import call_stream, unpack_status

ENDS = ("finished", "sample_failed")


def item(label: str, request: pb.GenerateRequest) -> request_pb2.BatchItem:
    return request_pb2.BatchItem(correlation_id=label, generation=request.generation, hop=request.hop)


async def all_of(proxy: Any, *requests: pb.GenerateBatchRequest) -> list[event_pb2.LabelledEvent]:
    seen: list[event_pb2.LabelledEvent] = []

    async def sending() -> AsyncIterator[pb.GenerateBatchRequest]:
        for request in requests:
            yield request

    async with call_stream(proxy.stub.GenerateBatch(sending(), timeout=30)) as messages:
        async for message in messages:
            seen += message.events
    return seen


async def test_every_sample_of_every_item_ends_once(start: Any, ask: Any, llmock: Any) -> None:
    proxy = await start(llmock.base_url())
    items = [
        item(f"i{number}", ask(f"prompt {number}", attempt_id=f"r{number}/0/1", n=2)) for number in range(8)
    ]
    events = await all_of(
        proxy, pb.GenerateBatchRequest(items=items[:5]), pb.GenerateBatchRequest(items=items[5:])
    )
    ends = [
        (one.correlation_id, one.event.sample_index)
        for one in events
        if one.event.WhichOneof("event") in ENDS
    ]
    assert sorted(ends) == sorted((f"i{number}", index) for number in range(8) for index in (0, 1))
    assert all(one.event.WhichOneof("event") != "sample_failed" for one in events)
    assert len(llmock.requests) == 16
    for number in range(8):
        await proxy.ledger.entry(f"r{number}/1/1")


async def test_what_is_wrong_with_an_item_is_its_own_failure(start: Any, ask: Any, llmock: Any) -> None:
    proxy = await start(llmock.base_url())
    wrong, unknown = ask(max_tokens=-1), ask()
    unknown.generation.routing.model = "nobody"
    events = await all_of(
        proxy,
        pb.GenerateBatchRequest(items=[item("good", ask()), item("bad", wrong), item("who", unknown)]),
    )
    ends = {one.correlation_id: one.event for one in events if one.event.WhichOneof("event") in ENDS}
    assert ends["good"].HasField("finished")
    assert unpack_status(ends["bad"].sample_failed.status).reason == "INVALID_REQUEST"
    assert unpack_status(ends["who"].sample_failed.status).reason == "NOT_FOUND"


async def test_a_label_may_not_come_twice(start: Any, ask: Any, llmock: Any) -> None:
    proxy = await start(llmock.base_url())
    with pytest.raises(InvalidRequest):
        await all_of(proxy, pb.GenerateBatchRequest(items=[item("a", ask()), item("a", ask())]))


async def test_an_item_taken_back_ends_and_closes_its_connection(start: Any, ask: Any, raw: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    async with raw(
        [head + b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'], hold=True
    ) as server:
        proxy = await start(server.url)
        spoke = asyncio.Event()

        async def sending() -> AsyncIterator[pb.GenerateBatchRequest]:
            yield pb.GenerateBatchRequest(items=[item("a", ask(n=2))])
            await spoke.wait()
            yield pb.GenerateBatchRequest(cancel_correlation_ids=["a", "never there"])

        ends = []
        async with call_stream(proxy.stub.GenerateBatch(sending(), timeout=30)) as messages:
            async for message in messages:
                for one in message.events:
                    if one.event.HasField("text_delta"):
                        spoke.set()
                    if one.event.HasField("sample_failed"):
                        ends.append(
                            (one.event.sample_index, unpack_status(one.event.sample_failed.status).reason)
                        )
        assert sorted(ends) == [(0, "CANCELLED"), (1, "CANCELLED")]
        async with asyncio.timeout(1):
            await server.gone.acquire()
            await server.gone.acquire()


async def test_a_caller_that_goes_closes_every_connection(start: Any, ask: Any, raw: Any) -> None:
    async with raw([b""], hold=True) as server:
        proxy = await start(server.url)

        async def sending() -> AsyncIterator[pb.GenerateBatchRequest]:
            yield pb.GenerateBatchRequest(
                items=[item(f"i{n}", ask(attempt_id=f"r{n}/0/1")) for n in range(8)]
            )
            await asyncio.Event().wait()

        call = proxy.stub.GenerateBatch(sending(), timeout=30)
        async with asyncio.timeout(10):
            for _ in range(8):
                await server.said.acquire()
        call.cancel()
        async with asyncio.timeout(2):
            for _ in range(8):
                await server.gone.acquire()
        for n in range(8):
            assert (await proxy.ledger.entry(f"r{n}/0/1")).error_reason == "CANCELLED"
