"""Many texts in portions: every one that is wrong is named by its place in the request."""

from __future__ import annotations

import time
from typing import Any

import pytest

from orchestra_errors import InvalidRequest, NoCapacity, Unsupported
from orchestra_inference_node.domain.admission import Admission
from orchestra_inference_node.domain.drawing import Embedded
from orchestra_inference_node.flows.slots import Slots
from orchestra_inference_node.flows.texts import TextsFlow
from orchestra_inference_node.ports import EngineFacts


class Letters:
    """A text's vector is its length; a token is a letter; refuses what has a `!`."""

    facts = EngineFacts("letters", "1", context_tokens=50, slots=2, generate=False, embeddings=True)
    counts = True

    def __init__(self) -> None:
        self.portions: list[int] = []

    async def tokenize(self, prompt: Any, *, special: bool = True) -> tuple[int, ...]:
        if not self.counts:
            raise Unsupported("tokenize", "letters")
        return tuple(range(len(prompt)))

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        self.portions.append(len(texts))
        for at, text in enumerate(texts):
            if "!" in text:
                raise InvalidRequest.of(f"texts[{at}]", "is loud")
        return [Embedded([float(len(text))], len(text)) for text in texts]


def flow(engine: Any) -> TextsFlow:
    return TextsFlow(engine, Slots("m", Admission(2, 8), lambda: None), time.monotonic)


async def test_the_order_is_kept_over_portions() -> None:
    texts = ["x" * (1 + at % 7) for at in range(40)]
    vectors = await flow(Letters()).embed(texts, None)
    assert [one.tokens for one in vectors] == [len(text) for text in texts]


async def test_every_long_text_is_named_before_any_is_computed() -> None:
    engine = Letters()
    texts = ["x"] * 40
    texts[3] = texts[37] = "x" * 51
    texts[20] = "x" * 50
    with pytest.raises(InvalidRequest) as refused:
        await flow(engine).embed(texts, None)
    assert [one.field for one in refused.value.violations] == ["texts[3]", "texts[37]"]
    assert engine.portions == []


async def test_what_the_engine_finds_is_named_by_its_place_in_the_request() -> None:
    engine = Letters()
    engine.counts = False
    texts = ["x"] * 40
    texts[35] = "x!" * 40
    with pytest.raises(InvalidRequest) as refused:
        await flow(engine).embed(texts, None)
    assert [one.field for one in refused.value.violations] == ["texts[35]"]


async def test_what_cannot_be_done_before_the_deadline_is_refused_at_once() -> None:
    now = 0.0

    class Slow(Letters):
        async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
            nonlocal now
            now += 2.0
            return await super().embed(texts)

    engine = Slow()
    slow = TextsFlow(engine, Slots("m", Admission(1, 8), lambda: None), lambda: now)
    await slow.embed(["x" * 10] * 16, deadline=0.5)
    with pytest.raises(NoCapacity) as refused:
        await slow.embed(["x" * 10] * 64, deadline=now + 7.9)
    assert refused.value.retry_after == pytest.approx(8.0)
    assert len(engine.portions) == 1, "nothing was begun that could not end"
    assert len(await slow.embed(["x" * 10] * 64, deadline=now + 8.1)) == 64
    assert len(await slow.embed(["x" * 10] * 64, deadline=None)) == 64
