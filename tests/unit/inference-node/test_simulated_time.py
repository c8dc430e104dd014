"""A simulated model takes the time that it declares, on a clock that may be any."""

from __future__ import annotations

import asyncio

import pytest

from orchestra_inference_node.adapters.simulated.engine import SimulatedEngine
from orchestra_inference_node.domain.drawing import End, EndReason, Idle, Piece, Prefill
from orchestra_testing import FakeClock

from .simulated_models import Reader, draw_of, engine, settings, whole

SLOW = {"tokens_per_second": 10, "prefill_per_second": 100, "first_token_s": 0.5, "answer_tokens": 10_000}
LONG = "word" + " word" * 199


async def test_tokens_come_when_the_pace_says() -> None:
    clock = FakeClock()
    model = engine(clock, **SLOW)
    begin = clock()
    draw = await draw_of(model, "word" + " word" * 49, max_tokens=5)
    assert len(draw.prompt_ids) == 50
    reader = Reader(model.generate((draw,), 60.0)[0], clock)
    await clock.advance(5)
    assert reader.times == pytest.approx([begin + at for at in (1.0, 1.1, 1.2, 1.3, 1.4)], abs=1e-4)
    end = reader.outputs[-1]
    assert isinstance(end, End) and end.reason is EndReason.MAX_TOKENS
    assert reader.seen[-1][0] == pytest.approx(begin + 1.4, abs=1e-4)


async def test_two_at_once_slow_each_other_down_by_what_is_declared() -> None:
    clock = FakeClock()
    model = engine(clock, **SLOW, batch_gain=0.5)
    begin = clock()
    readers = [
        Reader(model.generate((await draw_of(model, f"add {name}", max_tokens=16),), 60.0)[0], clock)
        for name in "ab"
    ]
    await clock.advance(60)
    # both prompts at once, then 15 further steps at three quarters of the speed
    first = 0.5 + 2 * len(await model.tokenize("add a")) / 100
    for reader in readers:
        assert reader.times[0] == pytest.approx(begin + first, abs=1e-3)
        assert reader.times[-1] == pytest.approx(begin + first + 15 / 7.5, abs=1e-2)


async def test_one_that_goes_gives_its_speed_to_the_others() -> None:
    clock = FakeClock()
    model = engine(clock, **SLOW, batch_gain=0)
    readers = [
        Reader(model.generate((await draw_of(model, f"add {name}"),), 60.0)[0], clock) for name in "ab"
    ]
    await clock.advance(3)
    readers[1].task.cancel()
    await clock.settle()
    before = len(readers[0].times)
    await clock.advance(2)
    assert len(readers[0].times) - before == pytest.approx(20, abs=1)


async def test_draws_of_one_prompt_compute_it_once_and_a_later_one_finds_it() -> None:
    clock = FakeClock()
    model = engine(clock, **SLOW)
    draws = tuple([await draw_of(model, LONG, seed, max_tokens=1) for seed in (1, 2, 3)])
    begin = clock()
    readers = [Reader(stream, clock) for stream in model.generate(draws, 60.0)]
    await clock.advance(10)
    assert [reader.times[0] - begin for reader in readers] == pytest.approx([2.5] * 3, abs=1e-3)
    ends = [reader.outputs[-1] for reader in readers]
    assert [one.cached_prompt_tokens for one in ends if isinstance(one, End)] == [0, 200, 200]
    later = Reader(model.generate((draws[0],), 60.0)[0], clock)
    begin = clock()
    await clock.advance(10)
    assert later.times[0] - begin == pytest.approx(0.5, abs=1e-3)


async def test_the_prompt_goes_on_when_who_began_it_goes() -> None:
    clock = FakeClock()
    model = engine(clock, **SLOW)
    draws = tuple([await draw_of(model, LONG, seed, max_tokens=1) for seed in (1, 2)])
    begin = clock()
    first, second = (Reader(stream, clock) for stream in model.generate(draws, 60.0))
    await clock.advance(1)
    first.task.cancel()
    await clock.advance(10)
    assert second.times[0] - begin == pytest.approx(2.5, abs=1e-3)


async def test_a_prefill_moves_and_silence_is_told() -> None:
    clock = FakeClock()
    model = engine(clock, **SLOW)
    reader = Reader(
        model.generate((await draw_of(model, "word" + " word" * 399, max_tokens=1),), 0.4)[0], clock
    )
    await clock.advance(10)
    reports = [one for one in reader.outputs if isinstance(one, Prefill)]
    assert [one.done for one in reports] == [128, 256, 384, 400]
    assert sum(isinstance(one, Idle) for one in reader.outputs) > 5


async def test_a_load_takes_its_time_and_says_how_far_it_is() -> None:
    slept: list[float] = []
    moves: list[tuple[object, ...]] = []
    SimulatedEngine(
        settings(
            load_s=8,
            memory=3200,
            moved=lambda moved: moves.append((moved.bytes_done, moved.bytes_total, moved.layers_done)),
        ),
        load_sleep=slept.append,
    )
    assert sum(slept) == pytest.approx(8)
    assert moves == [(100 * layer, 3200, layer) for layer in range(33)]


@pytest.mark.parametrize("parallel", [1, 4])
async def test_without_delay_a_turn_of_the_loop_gives_many_tokens(parallel: int) -> None:
    """No task and no timer for a token: what it costs is counted, not timed."""
    sleeps = 0

    async def sleep(seconds: float) -> None:
        nonlocal sleeps
        sleeps += 1
        assert seconds == 0
        await asyncio.sleep(0)

    model = SimulatedEngine(settings(answer_tokens=4000), sleep=sleep)
    draws = [await draw_of(model, seed=seed, max_tokens=3200) for seed in range(parallel)]
    streams = [model.generate((draw,), 60.0)[0] for draw in draws]
    answers = await asyncio.gather(*map(whole, streams))
    for outputs in answers:
        pieces = [one for one in outputs if isinstance(one, Piece)]
        assert sum(one.tokens for one in pieces) == 3200
        assert len(pieces) <= 3200 / 50
    assert sleeps <= parallel * 3200 / 50
