"""Our adapter over the real generator: what it promises to the node, on a scripted model."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from drawing import Answer, OpenEngine, draw_of, drawn, ids_of
from scripted_exllamav2 import cards, checkpoint
from scripted_exllamav2.language import FAIL

from orchestra_errors import InsufficientMemory, InvalidRequest, Unavailable, WorkerLost
from orchestra_inference_node.domain.drawing import ChatMessage, EndReason

Hooks = list[Callable[[int, int], None]]


async def test_eight_at_once_say_what_each_says_alone(open_engine: OpenEngine) -> None:
    """Each answer follows from all tokens before it, read from the pages that the generator gave it."""
    engine = open_engine()
    prompts = [f"{'A boat went out. ' * (20 * n)}and then" for n in range(1, 9)]
    alone = [await drawn(engine, await draw_of(engine, one, max_tokens=40)) for one in prompts]
    together = await asyncio.gather(
        *[drawn(engine, await draw_of(engine, one, max_tokens=40)) for one in prompts]
    )
    assert [one.text for one in together] == [one.text for one in alone]
    assert len({one.text for one in together}) == 8
    assert {one.end.reason for one in together} == {EndReason.MAX_TOKENS}


@pytest.mark.parametrize(
    ("settings", "reason", "matched", "text"),
    [
        ({}, EndReason.STOP, "", "calm 日本 sea, old ships"),
        ({"stop": ("old",)}, EndReason.STOP_SEQUENCE, "old", "calm 日本 sea, "),
        ({"stop": ("本 s", "ships")}, EndReason.STOP_SEQUENCE, "本 s", "calm 日"),
        ({"stop": ("mast", "shipyard")}, EndReason.STOP, "", "calm 日本 sea, old ships"),
        ({"max_tokens": 3}, EndReason.MAX_TOKENS, "", None),
    ],
)
async def test_ends(
    open_engine: OpenEngine, settings: dict[str, object], reason: EndReason, matched: str, text: str | None
) -> None:
    """Every way to end, with the text before it whole."""
    engine = open_engine()
    answer = await drawn(engine, await draw_of(engine, "<|say|>calm 日本 sea, old ships<|done|>", **settings))
    assert (answer.end.reason, answer.end.stop_matched) == (reason, matched)
    assert text is None or answer.text == text
    assert answer.end.completion_tokens == answer.tokens


async def test_a_stop_token_ends_before_its_text(open_engine: OpenEngine) -> None:
    engine = open_engine()
    (old,) = await engine.tokenize(" old", special=False)
    draw = await draw_of(engine, "<|say|>calm sea, old ships<|done|>", stop_token_ids=(old,))
    answer = await drawn(engine, draw)
    assert (answer.end.reason, answer.text) == (EndReason.STOP_SEQUENCE, "calm sea,")


async def test_a_full_context_ends(open_engine: OpenEngine) -> None:
    """Prompt and answer fill it to the last token, whatever else is in the pool."""
    engine = open_engine(context=512)
    draw = await draw_of(engine, " sea" * 400)
    answer, other = await asyncio.gather(drawn(engine, draw), drawn(engine, draw))
    assert answer.text == other.text
    assert answer.end.reason is EndReason.CONTEXT_FULL
    assert answer.end.prompt_tokens + answer.end.completion_tokens == engine.facts.context_tokens == 512


async def test_a_cancelled_draw_frees_its_slot_and_no_other(open_engine: OpenEngine) -> None:
    """With one slot beside it, what waits can only begin when the cancelled one is out of the generator."""
    engine = open_engine(slots=2)
    long, short = await draw_of(engine, "Go on"), await draw_of(engine, "Stay", max_tokens=60)
    alone = (await drawn(engine, short)).text
    kept = asyncio.create_task(drawn(engine, short))
    (stream,) = engine.generate((long,), idle_s=30)
    async for _ in stream:
        break
    await stream.aclose()
    after = await drawn(engine, await draw_of(engine, "<|say|>calm<|done|>"))
    assert after.text == "calm"
    assert (await kept).text == alone


async def test_a_failed_forward_fails_what_was_computed_and_nothing_else(
    open_engine: OpenEngine, before_forward: Hooks
) -> None:
    """What runs is lost with the page table. What waits goes to the new generator, and so does what comes
    later."""
    engine = open_engine(slots=2)
    begun = threading.Event()
    before_forward.append(lambda *_: begun.wait())
    healthy = await draw_of(engine, "Go on", max_tokens=300)
    running = asyncio.create_task(drawn(engine, healthy))
    failing = asyncio.create_task(drawn(engine, await draw_of(engine, "<|fail|>")))
    waiting = [asyncio.create_task(drawn(engine, await draw_of(engine, f"<|say|>{n}<|done|>"))) for n in "ab"]
    for _ in range(20):
        await asyncio.sleep(0)
    begun.set()
    for task in (failing, running):
        with pytest.raises(Unavailable, match="illegal memory access"):
            await task
    assert [(await task).text for task in waiting] == ["a", "b"]
    assert (await drawn(engine, await draw_of(engine, "<|say|>calm<|done|>"))).text == "calm"
    assert len((await drawn(engine, healthy)).ids) == 300


async def test_out_of_memory_in_a_prefill_is_a_failure_like_another(open_engine: OpenEngine) -> None:
    engine = open_engine()
    with pytest.raises(Unavailable, match="CUDA out of memory"):
        await drawn(engine, await draw_of(engine, "<|exhaust|>"))
    assert (await drawn(engine, await draw_of(engine, "<|say|>calm<|done|>"))).text == "calm"


async def test_samples_of_one_prompt_compute_it_once(open_engine: OpenEngine) -> None:
    """Eight answers, and one prompt's worth of work, within a page and over several."""
    engine = open_engine()
    for words in (100, 700):
        draws = tuple(
            [await draw_of(engine, f"Of {words}:" + " sea" * words, seed=n, max_tokens=12) for n in range(8)]
        )
        answers = await ids_of(engine, draws)
        prompt = len(draws[0].prompt_ids)
        computed = sum(prompt - answer.end.cached_prompt_tokens for answer in answers)
        assert 0.9 * prompt <= computed <= 1.1 * prompt
        assert len({answer.text for answer in answers}) == 8


async def test_a_seed_repeats_its_answer_beside_others(open_engine: OpenEngine) -> None:
    engine = open_engine()
    draws = [await draw_of(engine, "Once", seed=n, max_tokens=30) for n in (5, 6, 7, 5)]
    answers = await asyncio.gather(*(drawn(engine, draw) for draw in draws))
    assert answers[0].ids == answers[3].ids
    assert len({answer.text for answer in answers}) == 3


@pytest.mark.parametrize(
    ("settings", "holds"),
    [
        ({"temperature": 0.0}, lambda found, greedy: found.ids == greedy.ids),
        ({"top_k": 1}, lambda found, greedy: found.ids == greedy.ids),
        ({"top_p": 1e-4}, lambda found, greedy: found.ids == greedy.ids),
        ({"min_p": 1.0}, lambda found, greedy: found.ids == greedy.ids),
        ({"temperature": 2.0}, lambda found, greedy: found.ids != greedy.ids),
        (
            {"temperature": 0.0, "presence_penalty": 50.0},
            lambda found, _: len(set(found.ids)) == len(found.ids),
        ),
        (
            {"temperature": 0.0, "frequency_penalty": 50.0},
            lambda found, _: len(set(found.ids)) == len(found.ids),
        ),
        (
            {"temperature": 0.0, "repetition_penalty": 90.0},
            lambda found, _: len(set(found.ids)) == len(found.ids),
        ),
    ],
)
async def test_every_setting_reaches_the_sampler(
    open_engine: OpenEngine, settings: dict[str, float], holds: Callable[[Answer, Answer], bool]
) -> None:
    """Each at a value whose effect is certain, on thirty tokens of which the greedy answer repeats some."""
    engine = open_engine()
    greedy = await drawn(engine, await draw_of(engine, "It", temperature=0.0, max_tokens=30))
    assert len(set(greedy.ids)) < 30
    assert holds(await drawn(engine, await draw_of(engine, "It", seed=1, max_tokens=30, **settings)), greedy)


async def test_logprobs_are_of_the_drawn_tokens_after_the_processors(open_engine: OpenEngine) -> None:
    """Of two that are left the probabilities sum to one, and the drawn one is among them."""
    engine = open_engine()
    draw = await draw_of(engine, "Then", seed=3, max_tokens=20, top_k=2, logprobs=True, top_logprobs=5)
    answer = await drawn(engine, draw)
    assert len(answer.logprobs) == len(answer.top) == 20
    for token, logprob, top in zip(answer.ids, answer.logprobs, answer.top, strict=True):
        assert sum(map(math.exp, top.logprobs)) == pytest.approx(1.0, abs=1e-3)
        assert dict(zip(top.token_ids, top.logprobs, strict=True))[token] == pytest.approx(logprob, abs=1e-4)


async def test_a_score_is_what_drawing_it_gave(open_engine: OpenEngine) -> None:
    """Across pages, while others draw, and for the prompt's own logprobs, too."""
    engine = open_engine()
    draw = await draw_of(
        engine, "A calm sea. " * 30, seed=9, max_tokens=200, logprobs=True, prompt_logprobs=2
    )
    answer, _ = await asyncio.gather(drawn(engine, draw), drawn(engine, draw))
    scored = await engine.score(draw.prompt_ids, tuple(answer.ids), 3)
    assert scored.logprobs == pytest.approx(answer.logprobs, abs=0.02)
    assert [len(top.token_ids) for top in scored.top] == [3] * 200
    given = answer.end.prompt_logprobs
    assert given is not None
    assert given.token_ids == list(draw.prompt_ids)
    again = await engine.score(draw.prompt_ids[:1], draw.prompt_ids[1:], 0)
    assert given.logprobs[1:] == pytest.approx(again.logprobs, abs=1e-5)


async def test_a_schema_holds_whatever_the_model_wants(open_engine: OpenEngine) -> None:
    engine = open_engine()
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema |= {"additionalProperties": False}
    asked = [
        await draw_of(engine, "JSON", seed=n, max_tokens=60, json_schema=json.dumps(schema)) for n in (1, 2)
    ]
    answers = await asyncio.gather(*(drawn(engine, one) for one in asked))
    assert all(json.loads(answer.text)["ok"] in (True, False) for answer in answers)
    with pytest.raises(InvalidRequest, match="json_schema"):
        await drawn(engine, await draw_of(engine, "JSON", json_schema='{"type": "no such type"}'))


async def test_a_chat_goes_through_the_models_template(open_engine: OpenEngine) -> None:
    engine = open_engine()
    chat = (ChatMessage("user", "How was the sea?"),)
    ids = await engine.tokenize(chat)
    assert ids == await engine.tokenize("<|begin|><|user|>How was the sea?<|assistant|>", special=False)
    answer = await drawn(engine, await draw_of(engine, ids))
    assert answer.end.reason is EndReason.STOP
    with pytest.raises(InvalidRequest, match="no such role"):
        await engine.tokenize((ChatMessage("tool", "7"),))


async def test_a_draft_model_changes_no_answer(open_engine: OpenEngine, tmp_path: Path) -> None:
    """One that strays every third token is corrected, and the answers have the same length and end."""
    draft = checkpoint.write(tmp_path / "draft", strays=3)
    plain, drafted = open_engine(), open_engine(options={"draft_model": str(draft)})
    for prompt, most in (
        ("Once upon", 50),
        ("<|say|>calm old sea<|done|>", 50),
        ("<|say|>calm old sea<|done|>", 2),
    ):
        one, other = [
            await drawn(engine, await draw_of(engine, prompt, temperature=0.0, max_tokens=most))
            for engine in (plain, drafted)
        ]
        assert (one.ids, one.text, one.end.reason) == (other.ids, other.text, other.end.reason)


async def test_without_pages_one_request_at_a_time_has_the_whole_cache(open_engine: OpenEngine) -> None:
    paged, single = open_engine(), open_engine(options={"paged": "false"})
    assert (single.facts.slots, paged.facts.slots) == (1, 8)
    for prompt in ("Once upon a time", " sea" * 900):
        one, other = [
            await drawn(engine, await draw_of(engine, prompt, temperature=0.0, max_tokens=40))
            for engine in (paged, single)
        ]
        assert one.ids == other.ids


@pytest.mark.parametrize("cache", ["FP16", "Q8", "Q6", "Q4"])
async def test_every_cache_holds_what_was_put_into_it(open_engine: OpenEngine, cache: str) -> None:
    engine = open_engine(options={"cache": cache})
    answer = await drawn(engine, await draw_of(engine, "<|say|>calm sea<|done|>"))
    assert answer.text == "calm sea"


def test_what_does_not_fit_is_refused_with_what_it_needs(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "BYTES", 30_000)
    with pytest.raises(InsufficientMemory) as refusal:
        open_engine()
    assert "gpu0" in refusal.value.message
    assert not any(cards.held.values())


async def test_closing_ends_what_runs_and_gives_the_cards_back(open_engine: OpenEngine) -> None:
    engine = open_engine()
    assert any(cards.held.values())
    running = asyncio.create_task(drawn(engine, await draw_of(engine, "Go on")))
    (other,) = engine.generate((await draw_of(engine, "Go on"),), idle_s=30)
    async for _ in other:
        break
    await engine.close()
    with pytest.raises(WorkerLost):
        await running
    assert not any(cards.held.values())


def test_the_scripted_ids_are_the_tokenizers(open_engine: OpenEngine) -> None:
    assert checkpoint.tokenizer().token_to_id("<|fail|>") == FAIL
