"""Streams of a real model: grammar of events, provenance, counts, seeds, ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2, prompt_pb2, request_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_rpc import call_unary


@pytest.mark.parametrize("through", ["node", "worker"])
async def test_a_stream_is_started_deltas_finished(
    through: str, request: pytest.FixtureRequest, node: Any, worker: Any
) -> None:
    client = {"node": node, "worker": worker}[through]
    asked = worker.ask(temperature=0, return_token_ids=True)
    asked.generation.request_id, asked.generation.phase, asked.generation.run_id = "r1", "p", "run"
    asked.hop.attempt_id, asked.hop.first_sample_index = "r1/3/1", 3
    events = await client.events(asked)
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started" and kinds[-1] == "finished"
    assert set(kinds[1:-1]) <= {"text_delta", "heartbeat"}
    assert {event.sample_index for event in events} == {3}
    finished = events[-1].finished
    ids = [token for event in events for token in event.text_delta.token_ids]
    assert finished.reason == event_pb2.FINISH_REASON_MAX_TOKENS
    assert finished.usage.completion_tokens == len(ids) == 8
    assert not finished.HasField("cost"), "the router prices local work"
    timings = finished.timings
    assert timings.device_share.ToNanoseconds() <= timings.total.ToNanoseconds()
    assert 0 < timings.to_first_token.ToNanoseconds() < timings.total.ToNanoseconds()
    served = await node.worker()
    began = events[0].started.provenance
    assert began == finished.provenance
    assert (began.model, began.provider, began.engine) == ("smollm2-135m", "local", "llama.cpp")
    assert (began.node_id, began.worker_id, began.instance_id) == (
        "test-node",
        served.worker_id,
        served.instance_id,
    )
    assert (began.revision, began.quantization) == (served.revision, "Q4_1")
    assert (began.request_id, began.attempt_id, began.phase, began.run_id) == ("r1", "r1/3/1", "p", "run")
    assert len(began.trace_id) == 32 and len(began.sample_id) == 32 and began.drawn_at.seconds > 0
    for field in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "n"):
        assert began.sampling.HasField(field), field


async def test_each_token_comes_by_itself_on_an_idle_machine(worker: Any) -> None:
    events = await worker.events(worker.ask(return_token_ids=True, temperature=0))
    deltas = [event.text_delta for event in events if event.HasField("text_delta")]
    assert len(deltas) >= 6, "a few may merge when the machine is busy"


async def test_greedy_and_seeded_draws_repeat_and_unseeded_ones_differ(worker: Any) -> None:
    assert await worker.text(worker.ask(temperature=0)) == await worker.text(worker.ask(temperature=0))
    seeded = [await worker.text(worker.ask(seed=11, max_tokens=24)) for _ in range(2)]
    assert seeded[0] == seeded[1]
    free = {await worker.text(worker.ask(max_tokens=24)) for _ in range(3)}
    assert len(free) == 3


async def test_n_samples_have_their_own_seeds_and_the_seed_of_one_repeats_it(worker: Any) -> None:
    events = await worker.events(worker.ask(n=5, seed=7, max_tokens=12))
    started = {event.sample_index: event.started.provenance for event in events if event.HasField("started")}
    finished = [event.sample_index for event in events if event.HasField("finished")]
    assert sorted(started) == sorted(finished) == [0, 1, 2, 3, 4]
    assert len({one.sampling.seed for one in started.values()}) == 5
    assert len({one.sample_id for one in started.values()}) == 5
    again = await worker.text(worker.ask(seed=started[3].sampling.seed, max_tokens=12))
    assert again == worker.text_of(events, 3)


async def test_logprobs_are_one_per_token_after_the_processors(worker: Any) -> None:
    events = await worker.events(
        worker.ask(logprobs=True, top_logprobs=3, return_token_ids=True, top_k=2, seed=3)
    )
    deltas = [event.text_delta for event in events if event.HasField("text_delta")]
    ids = [token for delta in deltas for token in delta.token_ids]
    logprobs = [value for delta in deltas for value in delta.logprobs]
    tops = [top for delta in deltas for top in delta.top_logprobs]
    assert len(ids) == len(logprobs) == len(tops) == 8
    assert all(value <= 1e-6 for value in logprobs)
    for token, value, top in zip(ids, logprobs, tops, strict=True):
        assert len(top.token_ids) <= 2, "top_k leaves two"
        assert value == pytest.approx(dict(zip(top.token_ids, top.logprobs, strict=True))[token], abs=1e-4)


async def test_token_ids_in_are_the_prompt_as_it_is(worker: Any) -> None:
    asked = pb.CountTokensRequest(model="smollm2-135m", text="def add(a, b):", return_token_ids=True)
    counted = await call_unary(worker.stub.CountTokens(asked))
    assert counted.tokens == len(counted.token_ids) > 3
    by_ids = worker.ask(temperature=0)
    by_ids.generation.token_ids.ids.extend(counted.token_ids)
    assert await worker.text(by_ids) == await worker.text(worker.ask(temperature=0))


async def test_a_chat_goes_through_the_models_template(node: Any, worker: Any) -> None:
    asked = worker.ask(temperature=0)
    asked.generation.chat.messages.add(role=prompt_pb2.ROLE_USER).parts.add(text="Say hi")
    events = await node.events(asked)
    count = pb.CountTokensRequest(model="smollm2-135m", chat=asked.generation.chat)
    counted = await call_unary(node.stub.CountTokens(count))
    assert events[-1].finished.usage.prompt_tokens == counted.tokens > 8


async def test_a_stop_text_ends_before_itself(worker: Any) -> None:
    events = await worker.events(worker.ask("1, 2, 3, 4, 5,", temperature=0, max_tokens=40, stop=["9", "8"]))
    finished = events[-1].finished
    assert finished.reason == event_pb2.FINISH_REASON_STOP_SEQUENCE
    assert finished.stop_matched == "8"
    assert worker.text_of(events).strip().endswith("7,")


async def test_a_stop_token_ends_before_itself(worker: Any) -> None:
    counted = await call_unary(
        worker.stub.CountTokens(pb.CountTokensRequest(model="smollm2-135m", text="8", return_token_ids=True))
    )
    asked = worker.ask("1, 2, 3, 4, 5,", temperature=0, max_tokens=40, stop_token_ids=list(counted.token_ids))
    events = await worker.events(asked)
    assert events[-1].finished.reason == event_pb2.FINISH_REASON_STOP_SEQUENCE
    assert worker.text_of(events).strip().endswith("7,")


async def test_a_full_context_is_said_to_be_full(node: Any) -> None:
    await node.load(model="narrow", context_tokens=64)
    try:
        # a grammar that never lets the model stop
        asked = node.ask("word " * 40, model="narrow", grammar='root ::= "a" root')
        asked.generation.sampling.ClearField("max_tokens")
        finished = (await node.events(asked))[-1].finished
        assert finished.reason == event_pb2.FINISH_REASON_CONTEXT_FULL
        assert finished.usage.prompt_tokens + finished.usage.completion_tokens == 64
    finally:
        await call_unary(node.stub.UnloadModel(pb.UnloadModelRequest(model="narrow")))


async def test_an_answer_is_held_to_its_schema(worker: Any) -> None:
    properties = '{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]'
    schema = properties + ',"additionalProperties":false}'
    text = await worker.text(worker.ask("Answer in JSON: ", json_schema=schema, max_tokens=60, temperature=0))
    assert "".join(text.split()) in ('{"ok":true}', '{"ok":false}')


async def test_characters_are_whole_whatever_the_tokens_cut(worker: Any) -> None:
    events = await worker.events(worker.ask("🦊🦊🦊🦊🦊🦊", temperature=0, max_tokens=9))
    deltas = [event.text_delta.text for event in events if event.HasField("text_delta")]
    assert "🦊" in "".join(deltas)
    assert all("�" not in delta for delta in deltas)
    assert events[-1].finished.usage.completion_tokens == 9


async def test_who_waits_is_told_so_and_high_priority_goes_first(worker: Any, node: Any) -> None:
    long = [asyncio.create_task(worker.events(worker.ask(max_tokens=60, seed=i))) for i in range(2)]
    await node.until(lambda seen: seen.workers[0].slots_free == 0)
    low, high = worker.ask(max_tokens=2), worker.ask(max_tokens=2)
    low.generation.priority = request_pb2.PRIORITY_LOW
    high.generation.priority = request_pb2.PRIORITY_HIGH
    ended: list[str] = []

    async def follow(name: str, asked: pb.GenerateRequest) -> list[event_pb2.GenerationEvent]:
        events: list[event_pb2.GenerationEvent] = await worker.events(asked)
        ended.append(name)
        return events

    first = asyncio.create_task(follow("low", low))
    await node.until(lambda seen: seen.workers[0].queued == 1)
    second = asyncio.create_task(follow("high", high))
    waited = await first
    await second
    beats = [event.heartbeat for event in waited if event.HasField("heartbeat")]
    assert beats[0].activity == event_pb2.ACTIVITY_QUEUED and beats[0].HasField("ahead")
    assert waited[-1].finished.timings.queued.ToNanoseconds() > 0
    assert ended == ["high", "low"]
    await asyncio.gather(*long)
