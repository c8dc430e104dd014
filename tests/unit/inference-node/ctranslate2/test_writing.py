"""CodeT5 in small: what it says, how likely it says that is, and when it stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import T5
from tiny_models import END, HEADS, TOKENS, write_codet5

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.ctranslate2.likelihoods import after_processors
from orchestra_inference_node.adapters.engines import inspect_files, open_engine
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Idle, Piece
from orchestra_inference_node.ports import LoadSettings

PROMPT = "def f ( x ) :"


def opened(folder: Path, slots: int = 2, context: int | None = None, **options: str) -> Any:
    settings = LoadSettings("codet5", str(folder), context, slots, False, 2, options, folder)
    return open_engine("ctranslate2", settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_codet5(tmp_path_factory.mktemp("codet5") / "m")


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[Any]:
    loaded = opened(folder)
    yield loaded
    await loaded.close()


async def drawn(engine: Any, **settings: Any) -> tuple[Piece, End]:
    """The whole answer and how it ended."""
    ids = settings.pop("ids", None) or await engine.tokenize(PROMPT)
    (stream,) = engine.generate((Draw(prompt_ids=ids, seed=0, token_ids=True, **settings),), 5.0)
    whole, end = Piece(), None
    async with aclosing(stream), asyncio.timeout(30):
        async for output in stream:
            assert end is None, "nothing follows an end"
            if isinstance(output, Piece):
                whole.append(output)
            elif isinstance(output, End):
                end = output
    assert end is not None
    return whole, end


class TestTruth:
    async def test_greedy_takes_what_the_architecture_finds_most_likely(
        self, engine: Any, folder: Path
    ) -> None:
        ids = await engine.tokenize(PROMPT)
        whole, end = await drawn(engine, temperature=0, max_tokens=12, logprobs=True, top_logprobs=3)
        expected = T5(folder, HEADS).logprobs(ids, whole.token_ids)
        assert whole.token_ids == [int(row.argmax()) for row in expected[:-1]]
        assert whole.logprobs == [0.0] * 12, "a greedy draw is certain"
        assert [top.token_ids for top in whole.top] == [(token,) for token in whole.token_ids]
        assert (end.reason, end.completion_tokens, end.prompt_tokens) == (EndReason.MAX_TOKENS, 12, len(ids))
        again, _ = await drawn(engine, temperature=0, max_tokens=12)
        assert again.token_ids == whole.token_ids

    async def test_a_target_scores_what_the_architecture_says(self, engine: Any, folder: Path) -> None:
        ids = await engine.tokenize(PROMPT)
        target = await engine.tokenize("return x + 1", special=False)
        for ending in ((), (END,)):
            scored = await engine.score(ids, target + ending, 0)
            rows = T5(folder, HEADS).logprobs(ids, target)
            expected = [rows[at][token] for at, token in enumerate(target + ending)]
            assert scored.logprobs == pytest.approx(expected, abs=1e-4)
            assert scored.token_ids == [*target, *ending] and scored.tokens == len(scored.logprobs)

    async def test_a_drawn_answer_scores_what_drawing_it_gave(self, engine: Any, folder: Path) -> None:
        ids = await engine.tokenize(PROMPT)
        whole, _ = await drawn(engine, max_tokens=12, logprobs=True, top_logprobs=3)
        for row, top in zip(T5(folder, HEADS).logprobs(ids, whole.token_ids), whole.top, strict=False):
            assert list(top.logprobs) == pytest.approx(sorted(row)[:-4:-1], abs=1e-4)
        assert len(whole.logprobs) == len(whole.token_ids) == whole.tokens
        scored = await engine.score(ids, tuple(whole.token_ids), 0)
        assert scored.logprobs == pytest.approx(whole.logprobs, abs=1e-4), "temperature 1, nothing else set"

    @pytest.mark.parametrize(
        "sampling",
        [
            {"temperature": 0.5},
            {"temperature": 2.0, "top_p": 0.5},
            {"temperature": 0.7, "top_k": 5},
            {"temperature": 2.0, "top_k": 7, "top_p": 0.6},
        ],
    )
    async def test_logprobs_are_those_that_the_engine_draws_by(
        self, engine: Any, folder: Path, sampling: dict[str, Any]
    ) -> None:
        """Told probabilities against how often each first token really comes."""
        ids = await engine.tokenize(PROMPT)
        told = np.exp(after_processors(T5(folder, HEADS).logprobs(ids, ())[0], Draw(ids, 0, **sampling)))
        seen: Counter[int] = Counter()
        draws = 250
        for _ in range(draws):
            whole, _ = await drawn(engine, max_tokens=1, logprobs=True, **sampling)
            token = whole.token_ids[0] if whole.token_ids else END
            seen[token] += 1
            if whole.logprobs:
                assert np.exp(whole.logprobs[0]) == pytest.approx(told[token], abs=1e-4)
        assert all(told[token] > 0 for token in seen), "nothing comes that was cut away"
        often = [seen[token] / draws for token in range(len(TOKENS))]
        # the distance of two distributions: at 250 draws about 0.12 by chance alone
        assert 0.5 * np.abs(often - told).sum() < 0.3


class TestEnds:
    async def test_the_model_ends_its_answer(self, engine: Any) -> None:
        for _ in range(200):
            whole, end = await drawn(engine, temperature=2.5, max_tokens=60)
            if end.reason is EndReason.STOP:
                assert END not in whole.token_ids
                assert end.completion_tokens == len(whole.token_ids) + 1
                return
        raise AssertionError("it never ended by itself")

    async def test_a_stop_text_ends_before_itself(self, engine: Any) -> None:
        varied = {"temperature": 0, "max_tokens": 20}
        free, _ = await drawn(engine, **varied)
        words = free.text.split(" ")
        # it begins within one token and ends within the next
        stop = f"{words[5][-1]} {words[6][:1]}"
        begin = free.text.index(stop)
        whole, end = await drawn(engine, stop=("never this", stop), **varied)
        assert (end.reason, end.stop_matched) == (EndReason.STOP_SEQUENCE, stop)
        assert whole.text == free.text[:begin]
        assert whole.token_ids == free.token_ids[: len(whole.token_ids)]
        assert len(whole.token_ids) in (begin_of := len(whole.text.split(" ")), begin_of - 1)

    async def test_what_only_begins_a_stop_text_is_told_in_the_end(self, engine: Any) -> None:
        varied = {"temperature": 0, "max_tokens": 8}
        free, _ = await drawn(engine, **varied)
        whole, end = await drawn(engine, stop=(free.text[-3:] + " and more",), **varied)
        assert (whole.text, end.reason) == (free.text, EndReason.MAX_TOKENS)
        assert whole.token_ids == free.token_ids

    async def test_a_stop_token_ends_before_itself(self, engine: Any) -> None:
        varied = {"temperature": 0, "max_tokens": 20}
        free, _ = await drawn(engine, **varied)
        token = free.token_ids[4]
        whole, end = await drawn(engine, stop_token_ids=(token,), **varied)
        assert (end.reason, end.stop_matched) == (EndReason.STOP_SEQUENCE, TOKENS[token])
        assert whole.token_ids == free.token_ids[: free.token_ids.index(token)]

    async def test_the_context_is_prompt_and_answer_together(self, folder: Path) -> None:
        engine = opened(folder, context=16)
        ids = await engine.tokenize(PROMPT)
        whole, end = await drawn(engine, temperature=0)
        assert (end.reason, len(whole.token_ids)) == (EndReason.CONTEXT_FULL, 16 - len(ids))
        await engine.close()

    async def test_a_penalty_keeps_it_from_repeating_itself(self, engine: Any) -> None:
        plain, _ = await drawn(engine, temperature=0, max_tokens=20)
        varied, _ = await drawn(engine, temperature=0, max_tokens=20, repetition_penalty=1.5)
        assert len(set(varied.token_ids)) > len(set(plain.token_ids)) + 2


class TestStreams:
    async def test_a_closed_stream_frees_its_slot_at_the_next_token(self, folder: Path) -> None:
        engine = opened(folder, slots=1, context=100_000)
        ids = await engine.tokenize(PROMPT)
        (stream,) = engine.generate((Draw(ids, 0, temperature=0, stop=("never this",)),), 5.0)
        async with asyncio.timeout(10):
            assert isinstance(await anext(stream), Piece)
            await stream.aclose()
            whole, _ = await drawn(engine, max_tokens=3, temperature=0)
        assert whole.tokens == 3
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await engine.close()

    async def test_a_stream_that_nobody_read_costs_nothing(self, engine: Any) -> None:
        ids = await engine.tokenize(PROMPT)
        streams = engine.generate(tuple(Draw(ids, seed, max_tokens=2) for seed in range(2)), 5.0)
        async with asyncio.timeout(5):
            for stream in streams:
                await stream.aclose()

    async def test_a_quiet_engine_says_that_it_is_there(self, folder: Path) -> None:
        engine = opened(folder, slots=1, context=100_000)
        ids = await engine.tokenize(PROMPT)
        busy, waiting = engine.generate(tuple(Draw(ids, seed, temperature=0) for seed in range(2)), 0.05)
        async with asyncio.timeout(10):
            while not isinstance(await anext(busy), Piece):
                pass
            assert isinstance(await anext(waiting), Idle)
            await busy.aclose()
            await waiting.aclose()
        await engine.close()

    async def test_draws_of_one_prompt_differ(self, engine: Any) -> None:
        ids = await engine.tokenize(PROMPT)
        both = engine.generate(
            tuple(Draw(ids, 7, max_tokens=30, token_ids=True, temperature=2.0) for _ in range(2)), 5.0
        )
        texts = []
        for stream in both:
            async with aclosing(stream):
                texts.append("".join([one.text async for one in stream if isinstance(one, Piece)]))
        assert texts[0] != texts[1]


async def test_it_says_what_it_cannot_do(engine: Any, folder: Path) -> None:
    facts = engine.facts
    assert facts.generate and facts.score and facts.logprobs and not facts.embeddings
    assert not facts.deterministic_seed and not facts.json_schema and not facts.prompt_logprobs
    assert set(facts.missing_sampling) == {"seed", "min_p", "presence_penalty", "frequency_penalty"}
    with pytest.raises(Unsupported, match="embeddings"):
        await engine.embed(("a",))
    with pytest.raises(Unsupported, match="top_logprobs"):
        await engine.score((4,), (5,), 2)
    with pytest.raises(Unsupported, match="chat"):
        await engine.tokenize(())
    assert inspect_files("ctranslate2", str(folder), {}).quantization == "F32"


@pytest.mark.parametrize("wrong", [-1, len(TOKENS)])
async def test_numbers_that_are_no_tokens_are_refused(engine: Any, wrong: int) -> None:
    with pytest.raises(InvalidRequest, match="no token"):
        await drawn(engine, ids=(4, wrong))
    with pytest.raises(InvalidRequest, match="no token"):
        await drawn(engine, stop_token_ids=(wrong,))
    with pytest.raises(InvalidRequest, match="no token"):
        await engine.score((4, 5), (wrong,), 0)


async def test_weights_of_eight_bits_load_and_are_called_so(tmp_path: Path) -> None:
    folder = write_codet5(tmp_path / "m", quantization="int8")
    assert inspect_files("ctranslate2", str(folder), {}).quantization == "INT8"
    engine = opened(folder, compute_type="float32")
    whole, end = await drawn(engine, temperature=0, max_tokens=4)
    assert (whole.tokens, end.completion_tokens) == (4, 4)
    await engine.close()
