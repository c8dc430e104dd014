"""Texts become vectors: the right ones, in order, of unit length, without holding up the event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_onnx import FLOAT, INT32, INT64, TABLE, encoder, model, node, value, weights, write_folder

from orchestra_errors import DataLoss, InvalidRequest, Unsupported
from orchestra_inference_node.adapters.encoder.batches import batches
from orchestra_inference_node.adapters.encoder.engine import EncoderEngine
from orchestra_inference_node.adapters.engines import check_options, installed_engines, open_engine
from orchestra_inference_node.ports import LoadSettings
from orchestra_testing import model_file


def opened(folder: Path, *, context: int | None = None, **options: str) -> EncoderEngine:
    settings = LoadSettings("m", str(folder), context, 1, False, 1, options, folder)
    engine = open_engine("encoder", settings)
    assert isinstance(engine, EncoderEngine)
    return engine


@pytest.fixture(scope="module")
def minilm() -> EncoderEngine:
    return opened(model_file("minilm-l6"))


def unit_of(rows: list[list[float]]) -> Any:
    return np.array(rows) / np.linalg.norm(np.array(rows), axis=1, keepdims=True)


class TestMiniLM:
    async def test_it_says_what_it_can_do(self, minilm: EncoderEngine) -> None:
        facts = minilm.facts
        assert facts.embeddings and not facts.generate and not facts.score and not facts.chat
        assert (facts.name, facts.context_tokens, facts.slots) == ("onnxruntime", 512, 1)
        with pytest.raises(Unsupported, match="generate"):
            minilm.generate((), 1.0)
        with pytest.raises(Unsupported, match="score"):
            await minilm.score((1,), (2,), 0)
        with pytest.raises(Unsupported, match="chat"):
            await minilm.tokenize(())

    async def test_neighbours_and_their_lengths_change_nothing(self, minilm: EncoderEngine) -> None:
        texts = tuple("def f(x): return x + 1\n" * times for times in (1, 9, 2, 30, 1, 5))
        together = await minilm.embed(texts)
        for text, one in zip(texts, together, strict=True):
            (alone,) = await minilm.embed((text,))
            assert one.tokens == alone.tokens == len(await minilm.tokenize(text))
            assert np.dot(one.values, alone.values) == pytest.approx(1, abs=1e-4)
            assert np.linalg.norm(one.values) == pytest.approx(1, abs=1e-5)

    async def test_every_text_that_is_too_long_is_named(self, minilm: EncoderEngine) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await minilm.embed(("a", "b " * 511, "c " * 510, "d " * 900))
        assert [one.field for one in refused.value.violations] == ["texts[1]", "texts[3]"]
        assert "513 tokens" in refused.value.message and "512" in refused.value.message

    async def test_a_cancel_frees_the_thread_and_the_next_call_works(self, minilm: EncoderEngine) -> None:
        task = asyncio.create_task(minilm.embed(("word " * 500,) * 64))
        steps = 0
        while steps < 50:
            # were the loop held up, the whole computation would be over after a step or two
            await asyncio.sleep(0.001)
            steps += 1
        assert not task.done()
        task.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(await minilm.embed(("after",))) == 1

    async def test_the_context_asked_for_bounds_texts(self) -> None:
        engine = opened(model_file("minilm-l6"), context=16)
        assert engine.facts.context_tokens == 16
        assert opened(model_file("minilm-l6"), context=9999).facts.context_tokens == 512
        with pytest.raises(InvalidRequest, match="17 tokens"):
            await engine.embed(("a " * 15,))


# [CLS] a b [SEP] and [CLS] d [SEP], by the rows of the table
ROWS = ([2, 4, 5, 3], [2, 7, 3])


@pytest.mark.parametrize("kind", [INT64, INT32])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
async def test_pooling_is_as_told_and_sees_no_padding(tmp_path: Path, pooling: str, kind: int) -> None:
    engine = opened(write_folder(tmp_path, encoder(kind)), pooling=pooling)
    expected = {
        "mean": [np.mean([TABLE[row] for row in rows], axis=0).tolist() for rows in ROWS],
        "cls": [TABLE[rows[0]] for rows in ROWS],
        "last": [TABLE[rows[-1]] for rows in ROWS],
    }[pooling]
    vectors = await engine.embed(("a b", "d"))
    assert [one.tokens for one in vectors] == [4, 3], "nothing is cut, nothing padded counts"
    np.testing.assert_allclose([one.values for one in vectors], unit_of(expected), rtol=1e-5)


async def test_a_vector_that_the_model_makes_itself_is_taken(tmp_path: Path) -> None:
    engine = opened(write_folder(tmp_path, encoder(output="sentence_embedding")), batch_tokens="1")
    vectors = await engine.embed(("a b", "d"))
    expected = [np.max([TABLE[row] for row in rows], axis=0).tolist() for rows in ROWS]
    np.testing.assert_allclose([one.values for one in vectors], unit_of(expected), rtol=1e-5)


async def test_without_special_tokens_where_asked(tmp_path: Path) -> None:
    engine = opened(write_folder(tmp_path))
    assert await engine.tokenize("a b c d a b") == (2, 4, 5, 6, 7, 4, 5, 3), "the file would cut it at three"
    assert await engine.tokenize("a b", special=False) == (4, 5)


def test_a_model_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    decoder = encoder(more_inputs=[value("past_key_values.0.key", FLOAT, 4)])
    with pytest.raises(InvalidRequest, match="past_key_values"):
        opened(write_folder(tmp_path / "decoder", decoder))
    flat = model(
        [node("ReduceMax", ["table"], ["out"])],
        [weights("table", TABLE)],
        [value("input_ids", INT64, 2)],
        [value("out", FLOAT, 2)],
    )
    with pytest.raises(InvalidRequest, match="states of tokens"):
        opened(write_folder(tmp_path / "flat", flat))
    unknown = model(
        [node("NoSuchOperator", ["a"], ["b"])], [], [value("a", INT64, 2)], [value("b", FLOAT, 3)]
    )
    with pytest.raises(DataLoss, match="NoSuchOperator"):
        opened(write_folder(tmp_path / "unknown", unknown))


def test_batches_hold_texts_of_like_length_within_the_bound() -> None:
    lengths = [5, 100, 3, 4, 30, 31, 600]
    made = batches(lengths, 128)
    assert sorted(at for batch in made for at in batch) == list(range(len(lengths)))
    for batch in made:
        padded = max(lengths[at] for at in batch) * len(batch)
        assert padded <= 128 or len(batch) == 1
    assert made == [[2, 3, 0], [4, 5], [1], [6]]
    assert batches([7, 7, 7], 1) == [[0], [1], [2]], "a model that fits batches gets single texts"


def test_options_are_checked_by_name() -> None:
    assert "encoder" in installed_engines()
    check_options("encoder", {"threads": "2", "batch_tokens": "64", "pooling": "cls"})
    with pytest.raises(InvalidRequest) as refused:
        check_options("encoder", {"threads": "0", "pooling": "max", "speed": "9"})
    assert len(refused.value.violations) == 3
