"""How the tests ask an engine, and what comes back as one value."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestra_inference_node.domain.drawing import Draw, End, Piece, TopTokens
from orchestra_inference_node.ports import Engine, Outputs


class OpenEngine(Protocol):
    """Opens an engine that the test's end closes."""

    def __call__(
        self, *, context: int = 1024, slots: int = 8, options: dict[str, str] | None = None
    ) -> Engine: ...


@dataclass
class Answer:
    """A whole draw. `tokens` is how many its pieces stood for."""

    end: End
    text: str = ""
    tokens: int = 0
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[TopTokens] = field(default_factory=list)


async def draw_of(engine: Engine, prompt: str | tuple[int, ...], **settings: Any) -> Draw:
    """A draw with its ids wanted; greedy unless a seed is given."""
    ids = await engine.tokenize(prompt) if isinstance(prompt, str) else prompt
    neutral = {"seed": 0, "temperature": 1.0 if "seed" in settings else 0.0, "token_ids": True}
    return Draw(prompt_ids=ids, **(neutral | settings))


async def drawn(engine: Engine, draw: Draw) -> Answer:
    """Read to its end. Raises what the stream does."""
    (stream,) = engine.generate((draw,), idle_s=30)
    return await _read(stream)


async def ids_of(engine: Engine, draws: tuple[Draw, ...]) -> list[Answer]:
    """Draws that were handed over together."""
    return await asyncio.gather(*map(_read, engine.generate(draws, idle_s=30)))


async def _read(stream: Outputs) -> Answer:
    whole, end = Piece(), None
    try:
        async for one in stream:
            assert end is None, "nothing comes after the end"
            if isinstance(one, Piece):
                whole.append(one)
            elif isinstance(one, End):
                end = one
    finally:
        await stream.aclose()
    assert end is not None, "a stream has an end"
    return Answer(end, whole.text, whole.tokens, whole.token_ids, whole.logprobs, whole.top)
