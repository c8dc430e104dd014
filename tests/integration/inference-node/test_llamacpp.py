"""What of llama.cpp no other engine shares."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_rpc import call_stream, call_unary
from orchestra_testing.nodes import idle

MODEL = "smollm2-135m"


async def test_each_token_comes_by_itself_on_an_idle_machine(worker: Any) -> None:
    events = await worker.events(worker.ask(return_token_ids=True, temperature=0))
    deltas = [event.text_delta for event in events if event.HasField("text_delta")]
    assert len(deltas) >= 6, "a few may merge when the machine is busy"


async def test_a_cancel_in_a_long_prefill_frees_the_slot_at_the_next_chunk(node: Any, worker: Any) -> None:
    asked = worker.ask("word " * 600)
    async with call_stream(worker.stub.Generate(asked)) as answers:
        async for answer in answers:
            if answer.event.heartbeat.prompt_tokens_done > 0:
                assert answer.event.heartbeat.prompt_tokens_total == 601
                break
    await node.until_worker(idle, seconds=10)


async def test_tokens_that_end_an_answer_are_scored_too(worker: Any) -> None:
    end = (await worker.count("<|im_end|>"))[-1]
    score = pb.ScoreRequest(model=MODEL)
    score.items.add(text="hello").target_token_ids.ids.extend([500, end, 501, end])
    (target,) = (await call_unary(worker.stub.Score(score))).targets
    assert list(target.token_ids) == [500, end, 501, end]
    assert all(value < 0 for value in target.logprobs)


async def test_prompt_logprobs_are_those_of_scoring_the_prompt(worker: Any) -> None:
    asked = worker.ask("The sea is", max_tokens=2, temperature=0)
    asked.generation.sampling.prompt_logprobs = 2
    finished = (await worker.events(asked))[-1].finished
    ids = await worker.count("The sea is")
    given = finished.prompt_logprobs
    assert list(given.token_ids) == ids and given.logprobs[0] == 0
    score = pb.ScoreRequest(model=MODEL)
    item = score.items.add()
    item.token_ids.ids.extend(ids[:1])
    item.target_token_ids.ids.extend(ids[1:])
    (target,) = (await call_unary(worker.stub.Score(score))).targets
    assert list(target.logprobs) == pytest.approx(list(given.logprobs)[1:], abs=0.02)
    assert [len(top.token_ids) for top in given.top_logprobs] == [0] + [2] * (len(ids) - 1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_request_that_names_its_seed_repeats_though_its_prompt_is_in_a_slot(
    temperature: float, worker: Any
) -> None:
    asked = worker.ask(
        "List of fruits: apple, banana, cherry, " * 8, seed=7, temperature=temperature, max_tokens=12
    )
    events = [await worker.events(asked) for _ in range(3)]
    assert len({worker.text_of(one) for one in events}) == 1
    assert [one[-1].finished.usage.cached_prompt_tokens for one in events] == [0, 0, 0]


async def test_a_deterministic_model_repeats_what_a_seed_gave_whatever_runs_and_ran(own_node: Any) -> None:
    _, client = own_node
    await client.load(engine_options={"deterministic": "true"}, queue_limit=8)
    worker = await client.worker()
    assert worker.capabilities.deterministic_seed and worker.slots_total == 1
    # long enough that another text comes once it is found in a slot
    asked = client.ask("List of fruits: apple, banana, cherry, " * 8, seed=7, max_tokens=12)
    others = [asyncio.create_task(client.text(client.ask(f"Other {at}:", max_tokens=4))) for at in range(3)]
    texts = {await client.text(asked) for _ in range(3)}
    await asyncio.gather(*others)
    assert len(texts) == 1


async def test_a_model_that_shares_its_arithmetic_does_not_promise_to_repeat(node: Any) -> None:
    assert not (await node.worker()).capabilities.deterministic_seed
