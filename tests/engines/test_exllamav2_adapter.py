"""Streams of the exllamav2 adapter over the real generator: text, ends, logprobs, constraints, scores."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adapter_engines import draw, settings
from scripted_exllamav2.language import DONE, END, SAY

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.engines import open_engine
from orchestra_inference_node.domain.drawing import ChatMessage, EndReason, Piece, Prefill

SCHEMA = (
    '{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"],"additionalProperties":false}'
)


@pytest.fixture(scope="module", params=["true", "false"], ids=["paged", "unpaged"])
def engine(request: pytest.FixtureRequest, model_folder: Path) -> Iterator[Any]:
    engine: Any = open_engine("exllamav2", settings(model_folder, paged=request.param))
    yield engine
    asyncio.run(engine.close())


def test_the_first_tokens_of_the_script_are_as_the_tests_take_them() -> None:
    assert (END, SAY, DONE) == (1, 4, 5)


@pytest.mark.parametrize(
    ("asked", "text", "reason", "matched"),
    [
        ({}, "calm sea, 日本🦊 old ships", EndReason.STOP, ""),
        ({"stop": ("old",)}, "calm sea, 日本🦊 ", EndReason.STOP_SEQUENCE, "old"),
        ({"stop": ("本🦊",)}, "calm sea, 日", EndReason.STOP_SEQUENCE, "本🦊"),
        ({"stop": ("mast", "shipshape")}, "calm sea, 日本🦊 old ships", EndReason.STOP, ""),
        ({"max_tokens": 3}, "calm sea", EndReason.MAX_TOKENS, ""),
        # a stop text that is whole with the last token that is allowed
        ({"max_tokens": 3, "stop": ("sea",)}, "calm ", EndReason.STOP_SEQUENCE, "sea"),
        # half of a character
        ({"max_tokens": 7}, "calm sea, ", EndReason.MAX_TOKENS, ""),
        # whole with the last token
        ({"max_tokens": 8}, "calm sea, 日", EndReason.MAX_TOKENS, ""),
        # the name of a special token makes no text, and ends all the same
        ({"stop": ("<|end|>",)}, "calm sea, 日本🦊 old ships", EndReason.STOP_SEQUENCE, "<|end|>"),
    ],
)
async def test_ends(engine: Any, asked: dict[str, Any], text: str, reason: EndReason, matched: str) -> None:
    ids = await engine.tokenize("<|say|>calm sea, 日本🦊 old ships<|done|>")
    drawn = await draw(engine, ids, temperature=0.0, token_ids=True, **asked)
    assert (drawn.text, drawn.end.reason, drawn.end.stop_matched) == (text, reason, matched)
    said = (*ids[ids.index(SAY) + 1 : -1], END)
    assert tuple(drawn.whole.token_ids) == said[: drawn.end.completion_tokens]
    assert drawn.end.prompt_tokens == len(ids)
    assert drawn.whole.tokens == drawn.end.completion_tokens
    assert all("\ufffd" not in one.text for one in drawn.outputs if isinstance(one, Piece))


async def test_a_byte_that_makes_no_character_holds_nothing_back(engine: Any) -> None:
    """The generator itself would say nothing more until its end, and look for no stop text."""
    whole = await engine.tokenize("<|say|>🦊<|done|>")
    half = whole[whole.index(SAY) + 1]
    rest = await engine.tokenize(" the sea was calm, stop here", special=False)
    drawn = await draw(engine, (SAY, half, *rest, DONE), temperature=0.0, stop=("stop",))
    assert drawn.text.endswith(" the sea was calm, ") and drawn.end.stop_matched == "stop"
    early = [one for one in drawn.outputs if isinstance(one, Piece) and "the" in one.text]
    assert early, "it comes as it is drawn"


async def test_a_stop_token_ends_before_itself(engine: Any) -> None:
    (sea,) = await engine.tokenize(" sea", special=False)
    drawn = await draw(engine, "<|say|>calm sea<|done|>", temperature=0.0, stop_token_ids=(sea,))
    assert (drawn.text, drawn.end.reason) == ("calm", EndReason.STOP_SEQUENCE)
    assert drawn.end.stop_matched == " sea" and drawn.end.completion_tokens == 3


async def test_prompt_and_answer_fill_the_context_exactly(engine: Any) -> None:
    ids = (await engine.tokenize("the sea " * 600))[:1000]
    drawn = await draw(engine, ids)
    assert drawn.end.reason is EndReason.CONTEXT_FULL
    assert drawn.end.prompt_tokens + drawn.end.completion_tokens == engine.facts.context_tokens == 1024
    exact = await draw(engine, ids, max_tokens=24)
    assert exact.end.reason is EndReason.MAX_TOKENS and exact.end.completion_tokens == 24


async def test_logprobs_are_those_after_the_processors(engine: Any) -> None:
    drawn = await draw(engine, "Go on", logprobs=True, top_logprobs=4, token_ids=True, top_k=2, max_tokens=12)
    whole = drawn.whole
    assert len(whole.logprobs) == len(whole.top) == len(whole.token_ids) == 12
    for token, logprob, top in zip(whole.token_ids, whole.logprobs, whole.top, strict=True):
        assert len(top.token_ids) == len(top.texts) <= 2, "top_k leaves two"
        assert logprob == pytest.approx(dict(zip(top.token_ids, top.logprobs, strict=True))[token], abs=1e-5)
        assert sum(map(math.exp, top.logprobs)) == pytest.approx(1.0, abs=1e-3)
    greedy = await draw(engine, "Go on", temperature=0.0, logprobs=True, max_tokens=4)
    assert greedy.whole.logprobs == [0.0] * 4


async def test_seeds_repeat_and_differ(engine: Any) -> None:
    texts = [(await draw(engine, "Go on", seed=seed, max_tokens=16)).text for seed in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]


async def test_a_score_is_the_models_own_and_agrees_with_what_it_draws(engine: Any) -> None:
    ids = await engine.tokenize("the sea was calm " * 80)
    drawn = await draw(engine, ids, logprobs=True, token_ids=True, max_tokens=6)
    target = tuple(drawn.whole.token_ids)
    scored = await engine.score(ids, target, 3)
    assert tuple(scored.token_ids) == target and scored.tokens == 6
    assert scored.logprobs == pytest.approx(drawn.whole.logprobs, abs=1e-2)
    assert all(len(top.token_ids) == len(top.texts) == 3 for top in scored.top)
    # settings of a draw do not touch it, and what is cached does not either
    assert (await engine.score(ids, target, 0)).logprobs == scored.logprobs
    whole = await engine.score(ids[:1], ids[1:] + target, 0)
    assert whole.logprobs[-6:] == scored.logprobs and len(whole.logprobs) == len(ids) + 5


async def test_prompt_logprobs_begin_with_nothing_for_the_first_token(engine: Any) -> None:
    ids = await engine.tokenize("Go on with the sea")
    drawn = await draw(engine, ids, prompt_logprobs=2, max_tokens=2)
    prompt = drawn.end.prompt_logprobs
    assert prompt is not None and tuple(prompt.token_ids) == ids
    assert prompt.logprobs[0] == 0.0 and prompt.top[0].token_ids == ()
    assert prompt.logprobs[1:] == (await engine.score(ids[:1], ids[1:], 0)).logprobs
    alone = await draw(engine, ids[:1], prompt_logprobs=0, max_tokens=2)
    assert alone.end.prompt_logprobs == Piece(token_ids=[ids[0]], logprobs=[0.0], tokens=1)


async def test_chats_go_through_the_models_template(engine: Any) -> None:
    ids = await engine.tokenize((ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")))
    assert ids == await engine.tokenize("<|begin|><|user|>Be brief.<|user|>Hi<|assistant|>")
    assert (await draw(engine, ids, temperature=0.0)).end.reason is EndReason.STOP
    with pytest.raises(InvalidRequest, match=r"chat\.messages"):
        await engine.tokenize((ChatMessage("tool", "x"),))


async def test_a_text_begins_as_every_prompt_does_once(engine: Any) -> None:
    plain = await engine.tokenize("Hi", special=False)
    assert await engine.tokenize("Hi") == await engine.tokenize("<|begin|>Hi") == (0, *plain)


async def test_answers_are_held_to_a_schema_or_a_grammar(engine: Any) -> None:
    schema = await draw(engine, "Go on", json_schema=SCHEMA, max_tokens=200)
    assert "".join(schema.text.split()) in ('{"ok":true}', '{"ok":false}')
    assert schema.end.reason is EndReason.STOP
    grammar = await draw(engine, "Go on", grammar='root ::= "yes" | "no" "t"*', max_tokens=60, logprobs=True)
    assert grammar.text == "yes" or grammar.text.removeprefix("no").strip("t") == ""
    for field, value in (("json_schema", '{"type": "nope"}'), ("grammar", "root ::= nowhere")):
        with pytest.raises(InvalidRequest, match=rf"sampling\.{field}"):
            await draw(engine, "Go on", **{field: value})


async def test_what_is_no_token_is_named_and_never_reaches_the_model(engine: Any) -> None:
    beyond = 10_000
    with pytest.raises(InvalidRequest, match=r"token_ids\.ids: 10000"):
        await draw(engine, (1, beyond))
    with pytest.raises(InvalidRequest, match=r"sampling\.stop_token_ids: 10000"):
        await draw(engine, (1, 2), stop_token_ids=(beyond,))
    with pytest.raises(InvalidRequest, match="10000"):
        await engine.score((1,), (beyond,), 0)
    with pytest.raises(InvalidRequest):
        await engine.score((1,) * 600, (2,) * 600, 0)
    with pytest.raises(Unsupported):
        await engine.embed(("a",))
    assert (await draw(engine, "<|say|>still<|done|>", temperature=0.0)).text == "still"


async def test_prefill_is_told(engine: Any) -> None:
    ids = (await engine.tokenize("the sea was calm " * 300))[:900]
    told = [one for one in (await draw(engine, ids, max_tokens=1)).outputs if isinstance(one, Prefill)]
    assert told[-1] == Prefill(899, 900, told[-1].cached), (
        "the last token is computed with the first of the answer"
    )
