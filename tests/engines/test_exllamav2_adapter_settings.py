"""The exllamav2 adapter over the real generator: every setting of a draw, every cache, too little memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from adapter_engines import draw, opened
from scripted_exllamav2 import cards

from orchestra_errors import InsufficientMemory, Unavailable

Effect = Callable[[list[int], list[int]], bool]


@pytest.fixture
async def engine(model_folder: Path) -> AsyncIterator[Any]:
    async with opened(model_folder) as engine:
        yield engine


def as_greedy(drawn: list[int], greedy: list[int]) -> bool:
    return drawn == greedy


def of_another_mind(drawn: list[int], greedy: list[int]) -> bool:
    return drawn != greedy


def without_repeats(drawn: list[int], greedy: list[int]) -> bool:
    return len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    ("settings", "holds"),
    [
        ({"temperature": 0.0}, as_greedy),
        ({"top_k": 1}, as_greedy),
        ({"top_p": 1e-4}, as_greedy),
        ({"min_p": 1.0}, as_greedy),
        ({"temperature": 2.0}, of_another_mind),
        ({"temperature": 0.0, "presence_penalty": 50.0}, without_repeats),
        ({"temperature": 0.0, "frequency_penalty": 50.0}, without_repeats),
        ({"temperature": 0.0, "repetition_penalty": 90.0}, without_repeats),
    ],
    ids=str,
)
async def test_every_setting_reaches_the_sampler(
    engine: Any, settings: dict[str, Any], holds: Effect
) -> None:
    """Each at a value whose effect is certain, on thirty tokens of which the greedy answer repeats some."""
    asked = {"max_tokens": 30, "token_ids": True}
    greedy = (await draw(engine, "It", temperature=0.0, **asked)).whole.token_ids
    assert len(set(greedy)) < 30
    assert holds((await draw(engine, "It", **asked, **settings)).whole.token_ids, greedy)


@pytest.mark.parametrize("cache", ["FP16", "Q8", "Q6", "Q4"])
async def test_every_cache_holds_what_is_put_into_it(model_folder: Path, cache: str) -> None:
    """Two answers of several pages each, beside each other and each alone."""
    async with opened(model_folder, cache=cache) as engine:
        prompts = [f"{name}: {'calm sea and ' * 120}" for name in "ab"]
        asked = {"temperature": 0.0, "max_tokens": 40, "token_ids": True}
        alone = [(await draw(engine, one, **asked)).whole.token_ids for one in prompts]
        together = await asyncio.gather(*(draw(engine, one, **asked) for one in prompts))
        assert [one.whole.token_ids for one in together] == alone
        assert alone[0] != alone[1]


async def test_without_pages_answers_are_the_same(model_folder: Path) -> None:
    """One request at a time in one row of the cache, also when the next one begins as the last one did."""
    prompts = ["Once upon a time", " sea" * 900, " sea" * 700 + " ships", "Once upon"]
    asked = {"temperature": 0.0, "max_tokens": 40, "token_ids": True}
    found = []
    for paged in ("true", "false"):
        async with opened(model_folder, paged=paged) as engine:
            found.append([(await draw(engine, one, **asked)).whole.token_ids for one in prompts])
    assert found[0] == found[1]


async def test_out_of_memory_in_a_prefill_fails_the_draw_and_not_the_engine(engine: Any) -> None:
    with pytest.raises(Unavailable, match="CUDA out of memory"):
        await draw(engine, "<|exhaust|>")
    assert (await draw(engine, "<|say|>calm<|done|>", temperature=0.0)).text == "calm"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Bytes on cards that nothing else is on."""
    monkeypatch.setattr(cards, "held", Counter())
    return cards.held


async def test_what_the_cards_do_not_hold_is_refused_with_what_it_needs(
    model_folder: Path, held: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it stays on them."""
    monkeypatch.setattr(cards, "BYTES", 30_000)
    with pytest.raises(InsufficientMemory, match="gpu-0"):
        async with opened(model_folder):
            pass
    assert not any(held.values())


async def test_closing_gives_the_cards_back(model_folder: Path, held: Counter[int]) -> None:
    async with opened(model_folder):
        assert any(held.values())
    assert not any(held.values())
