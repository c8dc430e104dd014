"""n samples of one prompt compute it once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_rpc import call_stream

PROMPT = "def solve(values):\n    # " + "sort the values, drop doubles, " * 12


def computed(events: list[Any]) -> tuple[int, int]:
    """Prompt tokens computed over all samples, and those of one prompt."""
    usages = [event.finished.usage for event in events if event.HasField("finished")]
    assert len({usage.prompt_tokens for usage in usages}) == 1
    return (
        sum(usage.prompt_tokens - usage.cached_prompt_tokens for usage in usages),
        usages[0].prompt_tokens,
    )


@pytest.mark.parametrize("slots", [4, 8])
async def test_eight_samples_compute_one_prompt(slots: int, node: Any) -> None:
    name = f"sharing-{slots}"
    await node.load(model=name, slots=slots)
    try:
        asked = node.ask(PROMPT + str(slots), n=8, seed=3, max_tokens=6, model=name)
        events = await node.events(asked)
        assert sorted(event.sample_index for event in events if event.HasField("finished")) == list(range(8))
        done, prompt = computed(events)
        assert 64 < prompt <= done <= 1.1 * prompt
        texts = [node.text_of(events, index) for index in range(8)]
        assert len(set(texts)) > 4
        seeds = {event.finished.provenance.sampling.seed for event in events if event.HasField("finished")}
        assert len(seeds) == 8
    finally:
        await node.stub.UnloadModel(pb.UnloadModelRequest(model=name))


async def test_an_item_of_a_batch_computes_its_prompt_once(worker: Any) -> None:
    async def items() -> Any:
        request = pb.GenerateBatchRequest()
        item = request.items.add(correlation_id="a")
        item.generation.CopyFrom(worker.ask(PROMPT + "b", n=5, max_tokens=4).generation)
        yield request

    async with call_stream(worker.stub.GenerateBatch(items())) as answers:
        events = [one.event async for answer in answers for one in answer.events]
    done, prompt = computed(events)
    assert done <= 1.1 * prompt


async def test_a_cancelled_request_leaves_no_slot_and_others_go_on(node: Any, worker: Any) -> None:
    gone = worker.stub.Generate(worker.ask(PROMPT + "c", n=8, max_tokens=200))
    async with call_stream(gone) as events:
        async for answer in events:
            if answer.event.HasField("text_delta"):
                break
    assert await worker.text(worker.ask("1, 2, 3,", max_tokens=3, temperature=0))
    async with asyncio.timeout(5):
        await node.until(
            lambda seen: all(one.slots_free == one.slots_total and not one.queued for one in seen.workers)
        )


async def test_a_request_of_many_samples_lets_those_that_wait_go_first(worker: Any) -> None:
    many = worker.ask(PROMPT + "d", n=12, max_tokens=24)
    finished = 0
    alone: asyncio.Task[Any] | None = None
    async with call_stream(worker.stub.Generate(many)) as answers:
        async for answer in answers:
            finished += answer.event.HasField("finished")
            if alone is None and answer.event.HasField("text_delta"):
                # both slots are the many's, and ten of its samples are still to come
                alone = asyncio.create_task(worker.events(worker.ask("1, 2, 3,", max_tokens=2)))
            if alone is not None and alone.done():
                break
    assert alone is not None and alone.result()[-1].HasField("finished")
    assert finished < 12
