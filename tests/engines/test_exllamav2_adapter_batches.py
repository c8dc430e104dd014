"""Many draws of the exllamav2 adapter at once: shared prompts, cancels, failures, drafts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from adapter_engines import draw, draw_many, opened, read
from scripted_exllamav2 import checkpoint

from orchestra_errors import Unavailable, WorkerLost
from orchestra_inference_node.domain.drawing import Draw, EndReason, Idle, Piece

EIGHT = 8


@pytest.fixture
async def engine(model_folder: Path) -> AsyncIterator[Any]:
    async with opened(model_folder, slots=EIGHT, max_chunk_size="256") as engine:
        yield engine


class Gate:
    """Holds every forward until it is let through."""

    def __init__(self, hooks: list[Any]) -> None:
        self.at_gate = asyncio.Event()
        self._go = threading.Event()
        self._loop = asyncio.get_running_loop()
        hooks.append(self._hold)

    def _hold(self, batch: int, tokens: int) -> None:
        self._loop.call_soon_threadsafe(self.at_gate.set)
        assert self._go.wait(30.0)

    def open(self) -> None:
        self._go.set()


async def prompt(engine: Any, tokens: int) -> tuple[int, ...]:
    ids = await engine.tokenize("the sea was calm and a small boat went out " * 200)
    return tuple(ids[:tokens])


@pytest.mark.parametrize("tokens", [120, 256, 257, 700, 900])
async def test_eight_draws_of_one_prompt_compute_it_once(
    engine: Any, tokens: int, before_forward: list[Any]
) -> None:
    """Whole pages are shared, and what does not fill one is copied; each draw computes the last token."""
    computed: list[int] = []
    before_forward.append(lambda batch, many: computed.append(batch * many))
    drawn = await draw_many(engine, await prompt(engine, tokens), EIGHT, max_tokens=3)
    of_prompt = sum(computed) - sum(one.end.completion_tokens - 1 for one in drawn)
    assert of_prompt == tokens - 1 + EIGHT <= 1.1 * tokens
    cached = sorted(one.end.cached_prompt_tokens for one in drawn)
    assert cached == [0] + [tokens - 1] * (EIGHT - 1)
    assert len({one.text for one in drawn}) > 1


@pytest.mark.parametrize("slots", [1, 2])
async def test_draws_one_after_the_other_compute_their_prompt_once(model_folder: Path, slots: int) -> None:
    """Also where each of them reserves the whole context, as one without max_tokens does."""
    async with opened(model_folder, slots=slots, context=512) as engine:
        ids = await prompt(engine, 400)
        (sea,) = await engine.tokenize(" sea", special=False)
        asked: dict[str, Any] = {"stop_token_ids": (sea,)}
        first, *others = [await draw(engine, ids, seed=seed, **asked) for seed in range(5)]
        assert first.end.cached_prompt_tokens == 0
        assert [one.end.cached_prompt_tokens for one in others] == [399] * 4


async def test_later_draws_find_the_prompt_of_earlier_ones(engine: Any) -> None:
    ids = await prompt(engine, 600)
    await draw(engine, ids, max_tokens=2)
    again = await draw(engine, ids, max_tokens=2)
    assert again.end.cached_prompt_tokens == 599


async def test_a_draw_gives_beside_others_what_it_gives_alone(engine: Any) -> None:
    prompts = [await engine.tokenize("A small boat " * many) for many in range(1, 9)]
    alone = [await draw(engine, ids, max_tokens=20, seed=at) for at, ids in enumerate(prompts)]
    together = await asyncio.gather(
        *(draw(engine, ids, max_tokens=20, seed=at) for at, ids in enumerate(prompts))
    )
    assert [one.text for one in together] == [one.text for one in alone]


async def test_scores_and_draws_share_the_pool(engine: Any) -> None:
    """A score's pages are its own: what it wrote is never taken for a prompt's."""
    ids = await prompt(engine, 800)
    alone = await engine.score(ids[:300], ids[300:], 0)
    texts = await draw_many(engine, ids, 2, max_tokens=8)
    scored, drawn, second = await asyncio.gather(
        engine.score(ids[:300], ids[300:], 0),
        draw_many(engine, ids, 2, max_tokens=8),
        engine.score(ids[:300], ids[300:], 0),
    )
    assert scored.logprobs == second.logprobs == alone.logprobs
    assert [one.text for one in drawn] == [one.text for one in texts]


async def test_a_closed_draw_frees_its_slot_and_the_others_go_on(engine: Any) -> None:
    ids = await engine.tokenize("Go on")
    streams = engine.generate(tuple(Draw(ids, seed=seed, max_tokens=100) for seed in range(EIGHT)), 30.0)
    whole = [asyncio.create_task(read(stream)) for stream in streams[1:]]
    async with aclosing(streams[0]) as first:
        async for output in first:
            if isinstance(output, Piece):
                break
    # its slot is free: another one runs beside the seven
    assert (await draw(engine, ids, max_tokens=2)).end.completion_tokens == 2
    assert all(one.end.completion_tokens == 100 for one in await asyncio.gather(*whole))


async def test_a_draw_that_waits_for_pages_can_be_closed(
    model_folder: Path, before_forward: list[Any]
) -> None:
    """The pool is smaller than what the slots may ask for: the second one is queued in the generator."""
    async with opened(model_folder, slots=2, context=256, cache_tokens="256") as engine:
        gate = Gate(before_forward)
        first, second = (engine.generate((Draw((1, 2), seed=1),), 0.05)[0] for _ in range(2))
        running = asyncio.create_task(read(first))
        await gate.at_gate.wait()
        assert await anext(second) == Idle()
        closing = asyncio.create_task(second.aclose())
        gate.open()
        await closing
        assert (await running).end.reason is EndReason.CONTEXT_FULL


async def test_a_cancel_ends_a_long_prefill_after_its_portion(engine: Any, before_forward: list[Any]) -> None:
    gate = Gate(before_forward)
    computed: list[int] = []
    before_forward.append(lambda batch, many: computed.append(batch * many))
    (stream,) = engine.generate((Draw(await prompt(engine, 1000), seed=1),), 0.05)
    assert await anext(stream) == Idle()
    await gate.at_gate.wait()
    closing = asyncio.create_task(stream.aclose())
    gate.open()
    await closing
    assert sum(computed) <= 2 * 256


async def test_draws_that_are_closed_at_any_time_leave_nothing_behind(engine: Any) -> None:
    """Before they begin, in the queue, in the prefill, in the answer, at their end."""
    ids = await prompt(engine, 700)
    await draw(engine, ids, max_tokens=2)
    threads = threading.active_count()
    for at in range(120):
        streams = engine.generate(tuple(Draw(ids[at:], seed=n, max_tokens=3) for n in range(3)), 0.001)
        for looks, stream in enumerate(streams):
            for _ in range((at + looks) % 7):
                await anext(stream, None)
        await asyncio.gather(*(stream.aclose() for stream in streams))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() <= threads + 8, (
        "threads of the pools that are not there from the beginning"
    )
    drawn = await draw_many(engine, ids, EIGHT, max_tokens=3)
    assert all(one.end.completion_tokens == 3 for one in drawn)


async def test_a_stream_that_nobody_reads_computes_nothing(engine: Any, before_forward: list[Any]) -> None:
    before_forward.append(lambda batch, many: pytest.fail("computed"))
    for stream in engine.generate((Draw((1, 2), seed=1), Draw((1, 2), seed=2)), 1.0):
        await stream.aclose()


@pytest.mark.parametrize("paged", ["true", "false"])
async def test_a_failed_step_fails_those_that_run_and_nothing_else(model_folder: Path, paged: str) -> None:
    async with opened(model_folder, paged=paged) as engine:
        slots = engine.facts.slots
        ids = await engine.tokenize("Go on")
        beside = [asyncio.create_task(draw(engine, ids, max_tokens=300)) for _ in range(slots - 1)]
        with pytest.raises(Unavailable) as failed:
            await draw(engine, "<|fail|>", max_tokens=4)
        assert failed.value.retry_after and "illegal memory access" in str(failed.value)
        for one in await asyncio.gather(*beside, return_exceptions=True):
            assert isinstance(one, Unavailable) or one.end.completion_tokens == 300
        with pytest.raises(Unavailable, match="out of memory"):
            await draw(engine, "<|exhaust|>", max_tokens=4)
        texts = await asyncio.gather(
            *(draw(engine, "<|say|>calm<|done|>", temperature=0.0) for _ in range(slots))
        )
        assert {one.text for one in texts} == {"calm"}


async def test_what_waits_in_the_generator_outlives_a_failed_step(
    model_folder: Path, before_forward: list[Any]
) -> None:
    async with opened(model_folder, slots=2, context=256, cache_tokens="256") as engine:
        gate = Gate(before_forward)
        fails = asyncio.create_task(draw(engine, "<|fail|>"))
        await gate.at_gate.wait()
        (waits,) = engine.generate((Draw((1, 2), seed=1),), 0.05)
        assert await anext(waits) == Idle()
        gate.open()
        with pytest.raises(Unavailable):
            await fails
        assert (await read(waits)).end.reason is EndReason.CONTEXT_FULL


async def test_closing_the_engine_ends_what_runs(model_folder: Path) -> None:
    async with opened(model_folder) as engine:
        (stream,) = engine.generate((Draw((1, 2), seed=1),), 30.0)
        await anext(stream)
        closing = asyncio.create_task(engine.close())
        with pytest.raises(WorkerLost):
            async for _ in stream:
                pass
        await closing
        await stream.aclose()
        with pytest.raises(WorkerLost):
            await draw(engine, (1, 2))


@pytest.mark.parametrize("strays", [0, 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_draft_model_changes_no_answer(
    model_folder: Path, tmp_path: Path, strays: int, temperature: float
) -> None:
    """Whether what it drafts is right always, or often wrong."""
    draft = checkpoint.write(tmp_path / "draft", strays=strays)
    asked: dict[str, Any] = {"temperature": temperature, "token_ids": True, "logprobs": True}
    prompts = ["Go on", "<|say|>calm sea, 日本🦊 old ships<|done|>", "the sea was calm " * 55]
    async with opened(model_folder, context=320) as plain:
        wanted = [await draw(plain, one, max_tokens=24, **asked) for one in prompts]
        full = await draw(plain, "Go on")
    async with opened(model_folder, context=320, draft_model=str(draft), draft_tokens="3") as drafting:
        assert drafting.facts.context_tokens == 320
        together = await asyncio.gather(*(draw(drafting, one, max_tokens=24, **asked) for one in prompts))
        for seen, one in zip(together, wanted, strict=True):
            assert seen.whole.token_ids == one.whole.token_ids and seen.text == one.text
            assert seen.end.reason is one.end.reason
            assert seen.end.completion_tokens == one.end.completion_tokens
        stopped = await draw(drafting, prompts[1], stop=("sea",), temperature=0.0)
        assert (stopped.text, stopped.end.completion_tokens) == ("calm ", 3)
        whole = await draw(drafting, "Go on")
        assert whole.text == full.text and whole.end == full.end
