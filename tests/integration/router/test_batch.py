"""Many requests on one stream."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2, request_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import Draining, NoCapacity, WorkerLost
from orchestra_rpc import unpack_status

Events = dict[str, list[event_pb2.GenerationEvent]]


def item(label: str, generation: request_pb2.GenerationRequest) -> request_pb2.BatchItem:
    return request_pb2.BatchItem(correlation_id=label, generation=generation)


async def batch(mesh: Any, messages: Sequence[Sequence[request_pb2.BatchItem]]) -> tuple[Events, int]:
    """Events by label, and how many messages they came in."""

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        for items in messages:
            yield pb.GenerateBatchRequest(items=items)

    found: Events = defaultdict(list)
    count = 0
    async for response in mesh.stub.GenerateBatch(requests()):
        count += 1
        for labelled in response.events:
            found[labelled.correlation_id].append(labelled.event)
    return found, count


async def test_two_hundred_items_each_end_once_and_every_hop_is_batched(mesh: Any) -> None:
    models = ["smollm2-135m", "gemma3-270m"]
    items = [item(f"i{n}", mesh.ask(models[n % 2], text=f"prompt {n}")) for n in range(200)]
    events, messages = await batch(mesh, [items[:50], items[50:]])

    assert set(events) == {f"i{n}" for n in range(200)}
    for n in range(200):
        of_item = events[f"i{n}"]
        assert mesh.text(of_item) == "Hello, world"
        assert mesh.kinds(of_item)[-1] == "finished"
        assert mesh.kinds(of_item).count("finished") == 1
        assert of_item[-1].finished.provenance.model == models[n % 2]
    assert (mesh.node_a.batch_streams, mesh.node_b.batch_streams) == (1, 1)
    assert mesh.node_a.batch_messages + mesh.node_b.batch_messages < 120
    assert mesh.cache.lookups == 200
    assert mesh.cache.lookup_calls < 60
    assert messages < 400
    assert len(await mesh.ledger.until(200)) == 200


async def test_a_bad_item_fails_alone_with_all_that_is_wrong(mesh: Any) -> None:
    events, _ = await batch(
        mesh,
        [
            [
                item("good", mesh.ask()),
                item("bad", mesh.ask(text="", max_tokens=-1)),
                item("lost", mesh.ask(model="nobody")),
                item("good", mesh.ask(text="again")),
                item("", mesh.ask()),
            ]
        ],
    )
    assert mesh.text(events["good"]) == "Hello, world"
    bad = unpack_status(events["bad"][0].sample_failed.status)
    assert {one.field for one in bad.violations} == {"generation.text", "generation.sampling.max_tokens"}
    assert unpack_status(events["lost"][0].sample_failed.status).reason == "NOT_FOUND"
    assert [mesh.kinds(events["good"]).count(kind) for kind in ("finished", "sample_failed")] == [1, 1]
    assert unpack_status(events[""][0].sample_failed.status).reason == "INVALID_REQUEST"


async def test_items_without_a_token_move_on_when_a_worker_dies(mesh: Any) -> None:
    """Draining ends the double's whole stream: all its items lose their worker at once."""
    asked = 0

    def dying(generation: Any, hop: Any, index: int) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            return ["started", "a", Draining("node-a")]
        return ["started", asyncio.Event()]

    mesh.node_a.script = dying
    both = {"model": "", "candidates": ["smollm2-135m", "gemma3-270m"]}
    items = [item(f"i{n}", mesh.ask(text=f"p{n}", **both)) for n in range(20)]
    async with asyncio.timeout(20):
        events, _ = await batch(mesh, [items])
    ends = [mesh.kinds(of_item)[-1] for of_item in events.values()]
    assert ends.count("sample_failed") == 1
    assert ends.count("finished") == 19
    moved = [e for of_item in events.values() for e in of_item if e.HasField("finished")]
    assert {e.finished.provenance.model for e in moved} == {"gemma3-270m"}


async def test_a_cancelled_item_ends_and_its_worker_is_told(mesh: Any) -> None:
    mesh.node_a.script = lambda generation, *_: (
        ["started", "a", asyncio.Event()] if generation.text == "slow" else ["started", "b", "finish"]
    )
    outgoing: asyncio.Queue[pb.GenerateBatchRequest | None] = asyncio.Queue()

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        while (message := await outgoing.get()) is not None:
            yield message

    outgoing.put_nowait(pb.GenerateBatchRequest(items=[item("slow", mesh.ask(text="slow"))]))
    call = mesh.stub.GenerateBatch(requests())
    events: Events = defaultdict(list)
    async with asyncio.timeout(20):
        async for response in call:
            for labelled in response.events:
                events[labelled.correlation_id].append(labelled.event)
                if labelled.event.HasField("text_delta") and labelled.correlation_id == "slow":
                    outgoing.put_nowait(pb.GenerateBatchRequest(cancel_correlation_ids=["slow"]))
                if labelled.event.HasField("sample_failed"):
                    outgoing.put_nowait(pb.GenerateBatchRequest(items=[item("next", mesh.ask(text="x"))]))
                    outgoing.put_nowait(None)
        await mesh.node_a.cancelled.wait()
    assert unpack_status(events["slow"][-1].sample_failed.status).reason == "CANCELLED"
    assert mesh.text(events["next"]) == "b"


async def test_a_full_worker_is_waited_for_in_a_batch(mesh: Any) -> None:
    asked = 0

    def full_at_first(*_: Any) -> Any:
        nonlocal asked
        asked += 1
        return [NoCapacity("smollm2-135m", 0.01)] if asked <= 5 else ["started", "a", "finish"]

    mesh.node_a.script = full_at_first
    async with asyncio.timeout(20):
        events, _ = await batch(mesh, [[item("one", mesh.ask())]])
    kinds = mesh.kinds(events["one"])
    assert [kind for kind in kinds if kind != "heartbeat"] == ["started", "text_delta", "finished"]
    assert events["one"][-1].finished.provenance.attempt_id.endswith("/0/6")


async def test_no_more_is_read_than_may_be_in_flight(mesh: Any) -> None:
    """Back-pressure: the fixture's bound is 64 items, and nothing ends until the gate opens."""
    gate = asyncio.Event()
    mesh.node_a.script = lambda *_: ["started", gate, "a", "finish"]
    sent = 0

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        nonlocal sent
        for n in range(500):
            sent += 1
            # a large prompt, so that the transport's own buffers hold few
            yield pb.GenerateBatchRequest(items=[item(f"i{n}", mesh.ask(text=f"{n} " + "x" * 12_000))])

    async def read() -> int:
        ended = 0
        async for response in mesh.stub.GenerateBatch(requests()):
            ended += sum(labelled.event.HasField("finished") for labelled in response.events)
        return ended

    reading = asyncio.create_task(read())
    await mesh.node_a.began.wait()
    running = mesh.router.servicer._flows.batch._guide.running
    async with asyncio.timeout(10):
        while running.count("default", "") < 64:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    before = sent
    assert before < 300
    gate.set()
    assert await reading == 500


async def test_a_lost_worker_of_a_named_model_fails_its_items_and_no_others(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: [WorkerLost("smollm2-135m", "killed")]
    events, _ = await batch(mesh, [[item("a", mesh.ask(n=2)), item("b", mesh.ask(model="gemma3-270m"))]])
    assert mesh.kinds(events["a"], 0) == mesh.kinds(events["a"], 1) == ["sample_failed"]
    assert mesh.kinds(events["b"])[-1] == "finished"


async def test_the_batch_of_a_gone_client_ends_at_its_workers(mesh: Any) -> None:
    mesh.node_a.script = lambda *_: ["started", "a", asyncio.Event()]

    async def requests() -> AsyncIterator[pb.GenerateBatchRequest]:
        yield pb.GenerateBatchRequest(items=[item("one", mesh.ask())])
        await asyncio.Event().wait()

    call = mesh.stub.GenerateBatch(requests())
    await mesh.node_a.began.wait()
    call.cancel()
    async with asyncio.timeout(5):
        await mesh.node_a.cancelled.wait()


@pytest.mark.parametrize("n", [1, 3])
async def test_a_refused_item_ends_each_of_its_samples(mesh: Any, n: int) -> None:
    events, _ = await batch(mesh, [[item("x", mesh.ask(text="", n=n))]])
    assert [mesh.kinds(events["x"], index) for index in range(n)] == [["sample_failed"]] * n
