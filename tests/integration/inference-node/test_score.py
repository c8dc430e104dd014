"""Logprobs of given texts, and of prompts, are the model's own."""

from __future__ import annotations

from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import InvalidRequest, NotFound, Unsupported, WrongInstance
from orchestra_rpc import call_unary

MODEL = "smollm2-135m"


async def ids_of(client: Any, text: str) -> list[int]:
    asked = pb.CountTokensRequest(model=MODEL, text=text, return_token_ids=True)
    return list((await call_unary(client.stub.CountTokens(asked))).token_ids)


@pytest.mark.parametrize("through", ["node", "worker"])
async def test_a_target_scores_what_drawing_it_gave(
    through: str, request: pytest.FixtureRequest, node: Any, worker: Any
) -> None:
    client = {"node": node, "worker": worker}[through]
    asked = worker.ask(temperature=1, seed=5, logprobs=True, top_logprobs=3, return_token_ids=True)
    deltas = [event.text_delta for event in await worker.events(asked) if event.HasField("text_delta")]
    drawn = [token for delta in deltas for token in delta.token_ids]
    logprobs = [value for delta in deltas for value in delta.logprobs]
    score = pb.ScoreRequest(model=MODEL, top_logprobs=3)
    score.items.add(text="def add(a, b):").target_token_ids.ids.extend(drawn)
    score.items.add(text="def add(a, b):", target_text=" return")
    answer = await call_unary(client.stub.Score(score))
    first, second = answer.targets
    assert list(first.token_ids) == drawn
    assert list(first.logprobs) == pytest.approx(logprobs, abs=0.02), "temperature 1 and no other processor"
    assert len(first.top_logprobs) == len(drawn)
    assert all(len(top.token_ids) == 3 for top in first.top_logprobs)
    assert [top.logprobs[0] >= top.logprobs[1] for top in first.top_logprobs] == [True] * len(drawn)
    assert len(second.token_ids) == len(second.logprobs) == 1
    assert answer.model == MODEL and answer.revision.startswith("sha256:")


async def test_tokens_that_end_an_answer_are_scored_too(worker: Any) -> None:
    end = (await ids_of(worker, "<|im_end|>"))[-1]
    score = pb.ScoreRequest(model=MODEL)
    score.items.add(text="hello").target_token_ids.ids.extend([500, end, 501, end])
    (target,) = (await call_unary(worker.stub.Score(score))).targets
    assert list(target.token_ids) == [500, end, 501, end]
    assert all(value < 0 for value in target.logprobs)


async def test_prompt_logprobs_are_those_of_scoring_the_prompt(worker: Any) -> None:
    asked = worker.ask("The sea is", max_tokens=2, temperature=0)
    asked.generation.sampling.prompt_logprobs = 2
    finished = (await worker.events(asked))[-1].finished
    ids = await ids_of(worker, "The sea is")
    given = finished.prompt_logprobs
    assert list(given.token_ids) == ids and given.logprobs[0] == 0
    score = pb.ScoreRequest(model=MODEL)
    item = score.items.add()
    item.token_ids.ids.extend(ids[:1])
    item.target_token_ids.ids.extend(ids[1:])
    (target,) = (await call_unary(worker.stub.Score(score))).targets
    assert list(target.logprobs) == pytest.approx(list(given.logprobs)[1:], abs=0.02)
    assert [len(top.token_ids) for top in given.top_logprobs] == [0] + [2] * (len(ids) - 1)


async def test_everything_wrong_is_named_at_once(node: Any, worker: Any) -> None:
    bad = pb.ScoreRequest(model=MODEL, top_logprobs=21)
    bad.items.add(text="a")
    bad.items.add(target_text="b")
    bad.items.add(text="a", target_text="")
    with pytest.raises(InvalidRequest) as refused:
        await call_unary(worker.stub.Score(bad))
    assert {one.field for one in refused.value.violations} == {
        "top_logprobs",
        "items[0].target",
        "items[1].context",
        "items[2].target_text",
    }
    with pytest.raises(InvalidRequest, match="items"):
        await call_unary(node.stub.Score(pb.ScoreRequest(model=MODEL)))
    with pytest.raises(NotFound):
        await call_unary(node.stub.Score(pb.ScoreRequest(model="nobody")))
    with pytest.raises(InvalidRequest, match=r"items\[1\].*no token"):
        wrong = pb.ScoreRequest(model=MODEL)
        wrong.items.add(text="a", target_text="b")
        wrong.items.add(text="a").target_token_ids.ids.append(10**6)
        await call_unary(worker.stub.Score(wrong))
    with pytest.raises(InvalidRequest, match="context"):
        long = pb.ScoreRequest(model=MODEL)
        long.items.add(text="a").target_token_ids.ids.extend([500] * 2000)
        await call_unary(worker.stub.Score(long))
    with pytest.raises(WrongInstance):
        await call_unary(worker.stub.Embed(pb.EmbedRequest(texts=["a"], expected_instance_id="other")))
    with pytest.raises(Unsupported, match="embeddings"):
        await call_unary(node.stub.Embed(pb.EmbedRequest(model=MODEL, texts=["a"])))
    with pytest.raises(InvalidRequest) as refused:
        await call_unary(worker.stub.Embed(pb.EmbedRequest(model=MODEL, texts=["a", ""])))
    assert [one.field for one in refused.value.violations] == ["texts[1]"]
