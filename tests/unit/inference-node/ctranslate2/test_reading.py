"""GraphCodeBERT in small: its vectors are the architecture's, and it invents no score."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import Roberta
from tiny_models import HEADS, POSITIONS, write_graphcodebert

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.engines import inspect_files, memory_needed, open_engine
from orchestra_inference_node.ports import LoadSettings


def settings(folder: Path, **options: str) -> LoadSettings:
    return LoadSettings("graphcodebert", str(folder), None, 1, False, 1, options, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_graphcodebert(tmp_path / "m")


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[Any]:
    opened = open_engine("ctranslate2", settings(folder))
    yield opened
    await opened.close()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
async def test_vectors_are_those_of_the_architecture(folder: Path, pooling: str) -> None:
    engine = open_engine("ctranslate2", settings(folder, pooling=pooling))
    texts = ("def f ( x ) :", "return x + 1", "y", "def g ( x ) : return y * 2 / z")
    reference = Roberta(folder, HEADS)
    for text, one in zip(texts, await engine.embed(texts), strict=True):
        ids = await engine.tokenize(text)
        states = reference.states(ids)
        expected = states.mean(0) if pooling == "mean" else states[0]
        np.testing.assert_allclose(one.values, expected / np.linalg.norm(expected), atol=2e-5)
        assert one.tokens == len(ids)
    await engine.close()


async def test_it_says_what_it_is_and_refuses_the_rest(engine: Any, folder: Path) -> None:
    facts = engine.facts
    assert facts.embeddings and not facts.generate and not facts.score
    assert (facts.name, facts.context_tokens) == ("ctranslate2", POSITIONS)
    with pytest.raises(Unsupported, match="score"):
        await engine.score((1,), (2,), 0)
    with pytest.raises(Unsupported, match="generate"):
        engine.generate((), 1.0)
    files = inspect_files("ctranslate2", str(folder), {})
    assert {path.name for path in files.files} == {
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.json",
    }
    assert (files.quantization, files.chat) == ("F32", False)
    needed = memory_needed("ctranslate2", settings(folder))
    assert needed is not None and needed > (folder / "model.bin").stat().st_size


async def test_a_text_beyond_its_positions_is_refused_not_cut(engine: Any) -> None:
    longest = " ".join(["x"] * (POSITIONS - 2))
    (one,) = await engine.embed((longest,))
    assert one.tokens == POSITIONS
    with pytest.raises(InvalidRequest) as refused:
        await engine.embed(("x", longest + " y", longest, longest + " y z"))
    assert [violation.field for violation in refused.value.violations] == ["texts[1]", "texts[3]"]
