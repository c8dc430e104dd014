"""The node's exllamav2 adapter over the scripted engine, in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestra_inference_node.adapters.engines import open_engine
from orchestra_inference_node.domain.drawing import Draw, End, Output, Piece
from orchestra_inference_node.ports import EngineDevice, LoadMoved, LoadSettings

CARD = EngineDevice("gpu-0", "cuda", 0)


def settings(
    folder: Path,
    *,
    slots: int | None = 4,
    context: int | None = 1024,
    devices: tuple[EngineDevice, ...] = (CARD,),
    moved: Callable[[LoadMoved], None] = lambda _: None,
    **options: str,
) -> LoadSettings:
    return LoadSettings(
        model="m",
        path=str(folder),
        context_tokens=context,
        slots=slots,
        chat=True,
        device_threads=None,
        options=options,
        scratch=folder,
        devices=devices,
        moved=moved,
    )


@asynccontextmanager
async def opened(folder: Path, **asked: Any) -> AsyncIterator[Any]:
    """The engine, loaded; closed afterwards."""
    engine: Any = await asyncio.to_thread(open_engine, "exllamav2", settings(folder, **asked))
    try:
        yield engine
    finally:
        await engine.close()


@dataclass(frozen=True)
class Drawn:
    """One draw, read to its end."""

    outputs: Sequence[Output]

    @property
    def end(self) -> End:
        last = self.outputs[-1]
        assert isinstance(last, End)
        return last

    @property
    def whole(self) -> Piece:
        """All its pieces as one."""
        whole = Piece()
        for one in self.outputs:
            if isinstance(one, Piece):
                whole.append(one)
        return whole

    @property
    def text(self) -> str:
        return self.whole.text


async def read(stream: Any) -> Drawn:
    async with aclosing(stream):
        return Drawn([output async for output in stream])


async def draw(engine: Any, prompt: str | tuple[int, ...], **asked: Any) -> Drawn:
    ids = prompt if isinstance(prompt, tuple) else await engine.tokenize(prompt)
    (stream,) = engine.generate((Draw(ids, **({"seed": 1} | asked)),), 30.0)
    return await read(stream)


async def draw_many(engine: Any, ids: tuple[int, ...], n: int, **asked: Any) -> list[Drawn]:
    """Draws that differ in their seeds alone."""
    streams = engine.generate(tuple(Draw(ids, seed=seed, **asked) for seed in range(n)), 30.0)
    return list(await asyncio.gather(*map(read, streams)))
