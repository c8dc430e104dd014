"""Each declared failure, on a clock of the test's own and on real time."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from orchestra_errors import FailedPrecondition, InsufficientMemory, InvalidRequest, Unavailable, WorkerLost
from orchestra_inference_node.adapters.engines import check_options, inspect_files, memory_needed
from orchestra_inference_node.adapters.simulated.engine import SimulatedEngine
from orchestra_inference_node.adapters.simulated.entry import ENTRY, FAILURES
from orchestra_inference_node.domain.drawing import End, Idle, Output, Piece
from orchestra_inference_node.ports import EngineDevice
from orchestra_testing import FakeClock

from .simulated_models import Reader, draw_of, engine, settings


class Times:
    """A model on one of the two times, and what its only answer gives within ten seconds of it."""

    def __init__(self, real: bool) -> None:
        self._clock = None if real else FakeClock()
        # on real time, fast; on the other, slow
        self._pace = {"tokens_per_second": 2000 if real else 20, "answer_tokens": 1000}

    async def answers(self, count: int = 1, **options: object) -> list[tuple[list[Output], Exception | None]]:
        model = engine(self._clock, **self._pace, **options)
        return [await self._answer(model) for _ in range(count)]

    async def _answer(self, model: SimulatedEngine) -> tuple[list[Output], Exception | None]:
        (stream,) = model.generate((await draw_of(model, max_tokens=40),), 0.05)
        reader = Reader(stream, self._clock or FakeClock())
        if self._clock is None:
            await reader.quiet.wait()
        else:
            await self._clock.advance(10)
        reader.task.cancel()
        await asyncio.gather(reader.task, return_exceptions=True)
        return reader.outputs, reader.error


@pytest.fixture(params=["virtual time", "real time"])
def times(request: pytest.FixtureRequest) -> Times:
    return Times(real=request.param == "real time")


def tokens_of(outputs: list[Output]) -> int:
    return sum(one.tokens for one in outputs if isinstance(one, Piece))


async def test_an_answer_may_break(times: Times) -> None:
    ((outputs, error),) = await times.answers(fails="errors", fails_after=5, failure="a matrix of zeros")
    assert tokens_of(outputs) == 5
    assert isinstance(error, Unavailable) and "a matrix of zeros" in error.message and error.retry_after


async def test_an_answer_may_end_without_an_end(times: Times) -> None:
    ((outputs, error),) = await times.answers(fails="truncates", fails_after=5)
    assert tokens_of(outputs) == 5 and error is None
    assert not any(isinstance(one, End) for one in outputs)


async def test_an_answer_may_stall_and_says_that_nothing_comes(times: Times) -> None:
    ((outputs, error),) = await times.answers(fails="stalls", fails_after=5)
    assert tokens_of(outputs) == 5 and error is None
    assert isinstance(outputs[-1], Idle)


async def test_the_process_may_die(times: Times) -> None:
    """In these tests what ends the process returns, and the answer fails alone."""
    ((outputs, error),) = await times.answers(fails="dies", fails_after=5)
    assert tokens_of(outputs) == 5
    assert isinstance(error, WorkerLost)


async def test_every_third_long_answer_fails(times: Times) -> None:
    answers = await times.answers(6, fails="errors", fails_after=39, fails_every=3)
    assert [isinstance(error, Unavailable) for _, error in answers] == [False, False, True] * 2
    short = await times.answers(2, fails="errors", fails_after=40)
    assert [error for _, error in short] == [None, None], "they end before they would fail"


def test_a_load_may_fail_half_way() -> None:
    moves: list[int | None] = []
    with pytest.raises(FailedPrecondition, match="bad block 7"):
        SimulatedEngine(
            settings(fails="load", failure="bad block 7", moved=lambda one: moves.append(one.layers_done))
        )
    assert moves == list(range(17))


def test_a_load_may_run_out_of_memory() -> None:
    with pytest.raises(InsufficientMemory) as short:
        SimulatedEngine(settings(fails="memory", memory=7_000))
    assert short.value.metadata["needed_bytes"] == "7000"


def test_what_is_declared_is_held_against_the_devices() -> None:
    def cards(*sizes: int | None) -> tuple[EngineDevice, ...]:
        return tuple(EngineDevice(f"card{at}", "simulated", None, size) for at, size in enumerate(sizes))

    SimulatedEngine(settings(devices=cards(24, 24), memory=48))
    SimulatedEngine(settings(devices=cards(24, None), memory=100))
    with pytest.raises(InsufficientMemory) as short:
        SimulatedEngine(settings(devices=cards(24, 24), memory=49))
    assert short.value.metadata == {
        "model": "m",
        "device": "card0, card1",
        "needed_bytes": "49",
        "free_bytes": "48",
    }
    assert memory_needed("simulated", settings(memory=49)) == 49
    assert memory_needed("simulated", settings()) is None


def test_the_revision_names_what_is_declared() -> None:
    def identity(path: str = "simulated:one", **options: str) -> str:
        found = inspect_files("simulated", path, options)
        assert not found.files and found.chat
        return found.identity

    assert identity().startswith("simulated:") and len(identity()) == len("simulated:") + 64
    assert identity(answers="3", skew="0") == identity(skew="0", answers="3")
    assert len({identity(), identity("simulated:two"), identity(answers="3")}) == 3


def test_what_is_wrong_with_a_declaration_is_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        inspect_files("simulated", "/models/m.gguf", {"batch_gain": "1.5", "family_share": "2"})
    assert [one.field for one in refused.value.violations] == [
        "spec.path",
        "spec.engine_options['batch_gain']",
        "spec.engine_options['family_share']",
        "spec.engine_options['family']",
    ]
    with pytest.raises(InvalidRequest) as refused:
        check_options("simulated", {"fails": "sometimes", "answers": "0", "speed": "9"})
    assert len(refused.value.violations) == 3


def test_the_page_names_every_option_and_every_failure() -> None:
    page = (Path(__file__).parents[3] / "services/inference-node/ENGINES.md").read_text()
    section = page[page.index("## simulated\n") :].split("\n## ", 1)[0]
    named = [
        cell for row in re.findall(r"^\| (`.*?) \|", section, re.M) for cell in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(named) == sorted(ENTRY.options)
    (fails,) = re.findall(r"^\| `fails` \|.*$", section, re.M)
    assert all(f"`{failure}`" in fails for failure in FAILURES)
