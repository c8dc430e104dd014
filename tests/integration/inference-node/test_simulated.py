"""Simulated models in real processes: each declared failure as a caller sees it, and cards that are not
there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestra.generation.v1 import event_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InsufficientMemory,
    InvalidRequest,
    Unavailable,
    WorkerLost,
)
from orchestra_rpc import call_stream
from orchestra_testing.nodes import NodeClient, NodeProcess, client_of, idle, start_node

SPEC = pb.ModelSpec(model="declared", path="simulated:one", engine="simulated", chat=True, slots=2)
CARD = "{id: P40_0, kind: simulated, model: tesla-p40, memory: 24GB, watts: 250}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    node = start_node(tmp_path_factory.mktemp("node"), devices=[CARD], reserved=[])
    yield node
    assert node.stop() == 0, node.log.read_text()


@pytest.fixture
async def node(daemon: NodeProcess) -> AsyncIterator[NodeClient]:
    async with client_of(daemon.address, SPEC) as client:
        yield client
        await client.unload()


def failing(kind: str, **options: str) -> dict[str, str]:
    return {"fails": kind, "fails_after": "5", "tokens_per_second": "500", **options}


async def test_a_card_that_is_not_there_holds_what_it_is_declared_to(node: NodeClient) -> None:
    fits = {"memory": "20000000000"}
    served = (await node.load(engine_options=fits))[-1].worker
    assert list(served.device_ids) == ["P40_0"]
    assert served.revision.startswith("simulated:")
    assert (await node.node()).devices[0].memory_total_bytes == 24_000_000_000
    await node.unload()
    with pytest.raises(InsufficientMemory) as short:
        await node.load(engine_options={"memory": "25000000000"})
    assert short.value.status_code == "RESOURCE_EXHAUSTED"
    assert short.value.metadata["needed_bytes"] == "25000000000"


async def test_a_load_fails_with_what_it_says(node: NodeClient) -> None:
    with pytest.raises(FailedPrecondition, match="bad block 7"):
        await node.load(engine_options=failing("load", failure="bad block 7"))
    with pytest.raises(InsufficientMemory):
        await node.load(engine_options=failing("memory", memory="7000"))
    assert not (await node.node()).workers


async def test_a_path_or_an_option_that_is_wrong_starts_nothing(node: NodeClient) -> None:
    with pytest.raises(InvalidRequest, match="batch_gain"):
        await node.load(engine_options={"batch_gain": "2"})
    assert not (await node.node()).workers


async def test_an_answer_that_breaks_says_why(node: NodeClient) -> None:
    await node.load(engine_options=failing("errors", failure="a matrix of zeros"))
    with pytest.raises(Unavailable, match="a matrix of zeros"):
        await node.events(node.ask(max_tokens=40))
    await node.until_worker(idle, seconds=5)
    assert (await node.events(node.ask(max_tokens=5)))[-1].HasField("finished"), "too short to fail"


async def test_a_cut_answer_is_an_error_and_not_an_end(node: NodeClient) -> None:
    await node.load(engine_options=failing("truncates"))
    with pytest.raises(WorkerLost, match="without an end"):
        await node.events(node.ask(max_tokens=40))
    batch = await node.events(node.ask(max_tokens=40, n=2))
    assert sorted(one.sample_index for one in batch if one.HasField("sample_failed")) == [0, 1]


async def test_a_model_that_stalls_is_heard_until_the_deadline(node: NodeClient) -> None:
    await node.load(engine_options=failing("stalls"))
    seen: list[event_pb2.GenerationEvent] = []

    asked = node.ask(max_tokens=40, return_token_ids=True)
    with pytest.raises(DeadlineExceeded):
        async with call_stream(node.stub.Generate(asked, timeout=1.5)) as answers:
            async for answer in answers:
                seen.append(answer.event)
    assert sum(len(one.text_delta.token_ids) for one in seen) == 5
    beats = [one.heartbeat for one in seen if one.HasField("heartbeat")]
    assert beats and beats[-1].activity == event_pb2.ACTIVITY_DECODE
    await node.until_worker(idle, seconds=5)


async def test_a_model_that_dies_takes_its_process_along_and_comes_back(node: NodeClient) -> None:
    await node.load(engine_options=failing("dies"))
    before = await node.worker()
    with pytest.raises(WorkerLost) as lost:
        await node.events(node.ask(max_tokens=40))
    assert lost.value.retry_after
    back = await node.until_worker(lambda seen: seen.restarts == 1 and bool(seen.address))
    assert back.instance_id != before.instance_id
    assert back.state in (node_pb2.STATE_SERVING, node_pb2.STATE_DEGRADED)
    assert (await node.events(node.ask(max_tokens=5)))[-1].HasField("finished")


async def test_two_models_of_one_family_give_some_of_the_same_answers(node: NodeClient) -> None:
    options = {"answers": "4", "answer_tokens": "4", "family": "llama", "family_share": "0.5"}
    await node.load(engine_options=options)
    await node.load(model="other", path="simulated:two", engine_options=options)
    try:
        texts = []
        for model in ("declared", "other"):
            asked = node.ask(model=model, n=64, seed=1)
            asked.generation.sampling.ClearField("max_tokens")
            events = await node.events(asked)
            texts.append({node.text_of(events, index) for index in range(64)})
        assert [len(one) for one in texts] == [4, 4]
        assert len(texts[0] & texts[1]) == 2
    finally:
        await node.unload("other")


async def test_without_delay_many_answers_come_at_once(node: NodeClient) -> None:
    await node.load(slots=8, engine_options={"answer_tokens": "2000"})
    asks = [node.ask(seed=seed, max_tokens=2000) for seed in range(8)]
    answers = await asyncio.gather(*map(node.events, asks))
    for events in answers:
        assert events[-1].finished.usage.completion_tokens == 2000
        assert len(events) < 100, "tokens come packed"
