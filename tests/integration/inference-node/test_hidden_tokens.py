"""Characters that are made of several tokens: every id is told, and the text is theirs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestra.generation.v1 import event_pb2 as ev
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import DataLoss
from orchestra_inference_node.adapters.llamacpp.token_table import token_table
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary, cut_off
from orchestra_rpc import call_unary
from orchestra_testing import model_file

MODEL = "smollm2-135m"
GRAMMAR = 'root ::= "🙂日本" [α-ω] "x🦊"'
VOCABULARY = Vocabulary(partial(token_table, Path(model_file(MODEL))))


def spelled(ids: list[int]) -> bytes:
    return b"".join(map(VOCABULARY.bytes_of, ids))


def drawn(events: list[Any]) -> tuple[str, list[int], list[float], ev.Finished]:
    deltas = [event.text_delta for event in events if event.HasField("text_delta")]
    return (
        "".join(delta.text for delta in deltas),
        [token for delta in deltas for token in delta.token_ids],
        [value for delta in deltas for value in delta.logprobs],
        events[-1].finished,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_id_is_told_and_spells_the_text(seed: int, worker: Any) -> None:
    asked = worker.ask(grammar=GRAMMAR, return_token_ids=True, max_tokens=60, seed=seed)
    text, ids, _, finished = drawn(await worker.events(asked))
    assert text.startswith("🙂日本") and text.endswith("x🦊")
    assert spelled(ids) == text.encode()
    assert len(ids) == finished.usage.completion_tokens > len(text)


async def test_samples_of_one_prompt_are_told_apart(worker: Any) -> None:
    asked = worker.ask(grammar=GRAMMAR, return_token_ids=True, max_tokens=60, seed=4, n=3)
    events = await worker.events(asked)
    for index in range(3):
        text, ids, _, finished = drawn([event for event in events if event.sample_index == index])
        assert spelled(ids) == text.encode() and text.endswith("🦊")
        assert len(ids) == finished.usage.completion_tokens


@pytest.mark.parametrize("most", range(1, 8))
async def test_max_tokens_may_end_inside_a_character(most: int, worker: Any) -> None:
    asked = worker.ask(grammar=GRAMMAR, return_token_ids=True, max_tokens=most, seed=1)
    text, ids, _, finished = drawn(await worker.events(asked))
    assert finished.reason == ev.FINISH_REASON_MAX_TOKENS
    assert len(ids) == finished.usage.completion_tokens == most
    assert spelled(ids).decode(errors="ignore") == text


async def test_greedy_draws_have_a_logprob_for_every_token(worker: Any) -> None:
    asked = worker.ask(grammar=GRAMMAR, return_token_ids=True, logprobs=True, max_tokens=60, temperature=0)
    text, ids, logprobs, _ = drawn(await worker.events(asked))
    assert spelled(ids) == text.encode()
    assert logprobs == [0.0] * len(ids)


@pytest.mark.parametrize("ids_too", [True, False])
async def test_neutral_draws_have_the_models_own_logprob_of_every_token(ids_too: bool, worker: Any) -> None:
    prompt = "🦊🦊🦊🦊🦊🦊🦊🦊"
    asked = worker.ask(prompt, return_token_ids=ids_too, logprobs=True, top_logprobs=2, max_tokens=12, seed=2)
    events = await worker.events(asked)
    _, ids, logprobs, finished = drawn(events)
    assert len(logprobs) == finished.usage.completion_tokens
    top = [one for event in events for one in event.text_delta.top_logprobs]
    assert len(top) == len(logprobs) and all(len(one.token_ids) == 2 for one in top)
    if not ids_too:
        assert not ids
        return
    # some of them end inside a character, or this would prove nothing
    assert any(cut_off(VOCABULARY.bytes_of(token)) for token in ids)
    score = pb.ScoreRequest(model=MODEL)
    item = score.items.add(text=prompt)
    item.target_token_ids.ids.extend(ids)
    (target,) = (await call_unary(worker.stub.Score(score))).targets
    assert logprobs == pytest.approx(list(target.logprobs), abs=0.05)


async def test_logprobs_that_nobody_can_know_are_not_invented(worker: Any) -> None:
    with pytest.raises(DataLoss):
        await worker.events(worker.ask(grammar=GRAMMAR, logprobs=True, max_tokens=60, seed=1))


async def test_a_text_that_was_held_back_for_a_stop_text_is_not_lost(worker: Any) -> None:
    whole = await worker.text(worker.ask("1 2 3 4 5 6", max_tokens=4, temperature=0))
    asked = worker.ask("1 2 3 4 5 6", max_tokens=4, temperature=0, stop=[whole[-2:] + "nobody says this"])
    text, _, _, finished = drawn(await worker.events(asked))
    assert text == whole
    assert finished.reason == ev.FINISH_REASON_MAX_TOKENS


async def test_a_given_text_is_scored_through_its_characters(worker: Any) -> None:
    score = pb.ScoreRequest(model=MODEL, top_logprobs=20)
    score.items.add(text="日本日本日本日本", target_text="日本")
    score.items.add(text="日本日本日本日本", target_text="日")
    long, short = (await call_unary(worker.stub.Score(score))).targets
    assert spelled(list(long.token_ids)) == "日本".encode()
    assert len(long.logprobs) == len(long.top_logprobs) == len(long.token_ids) > 2
    shared = len(short.token_ids)
    assert list(long.logprobs)[:shared] == pytest.approx(list(short.logprobs), abs=0.02)
    for token, value, top in zip(long.token_ids, long.logprobs, long.top_logprobs, strict=True):
        # so often repeated that each of its tokens is among the likely ones, where the engine tells it itself
        assert dict(zip(top.token_ids, top.logprobs, strict=True))[token] == pytest.approx(value, abs=0.02)
