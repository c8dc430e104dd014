"""Simulated models on a clock that a test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestra_inference_node.adapters.simulated.engine import SimulatedEngine
from orchestra_inference_node.domain.drawing import Draw, Idle, Output, Piece
from orchestra_inference_node.ports import EngineDevice, LoadMoved, LoadSettings, Outputs
from orchestra_testing import FakeClock

PROMPT = "def add(a, b):"


def settings(
    path: str = "simulated:one",
    devices: tuple[EngineDevice, ...] = (),
    moved: Callable[[LoadMoved], None] = lambda _: None,
    **options: object,
) -> LoadSettings:
    """Settings of a model named m with four slots."""
    return LoadSettings(
        model="m",
        path=path,
        context_tokens=4096,
        slots=4,
        chat=True,
        device_threads=None,
        options={name: str(value) for name, value in options.items()},
        scratch=Path("/nowhere"),
        devices=devices,
        moved=moved,
    )


def died() -> None:
    """In place of ending the process of the tests."""


def engine(clock: FakeClock | None = None, path: str = "simulated:one", **options: object) -> SimulatedEngine:
    """A model on the clock, or on real time."""
    if clock is None:
        return SimulatedEngine(settings(path, **options), die=died)
    return SimulatedEngine(
        settings(path, **options), clock=clock, sleep=clock.sleep, load_sleep=lambda _: None, die=died
    )


async def draw_of(model: SimulatedEngine, prompt: str = PROMPT, seed: int = 1, **changes: Any) -> Draw:
    return Draw(prompt_ids=await model.tokenize(prompt), seed=seed, **changes)


class Reader:
    """Reads a stream in a task, and notes when what came. `error` is what it ended with, if anything; `quiet`
    is set when it has ended or says that nothing comes."""

    def __init__(self, stream: Outputs, clock: FakeClock) -> None:
        self.seen: list[tuple[float, Output]] = []
        self.error: Exception | None = None
        self.quiet = asyncio.Event()
        self._clock = clock
        self.task = asyncio.create_task(self._read(stream))

    async def _read(self, stream: Outputs) -> None:
        try:
            async for output in stream:
                self.seen.append((self._clock(), output))
                if isinstance(output, Idle):
                    self.quiet.set()
        except Exception as error:
            self.error = error
        finally:
            await stream.aclose()
            self.quiet.set()

    @property
    def outputs(self) -> list[Output]:
        return [output for _, output in self.seen]

    @property
    def times(self) -> list[float]:
        """When each token came."""
        return [at for at, output in self.seen if isinstance(output, Piece) for _ in range(output.tokens)]


async def whole(stream: Outputs) -> list[Output]:
    """Everything that a stream gives."""
    return [output async for output in stream]


def text_of(outputs: list[Output]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, Piece))


async def text(model: SimulatedEngine, seed: int = 1, prompt: str = PROMPT, **changes: Any) -> str:
    (stream,) = model.generate((await draw_of(model, prompt, seed, **changes),), 60.0)
    return text_of(await whole(stream))
