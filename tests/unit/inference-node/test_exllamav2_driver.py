"""Every run ends, whatever becomes of the generator: here one that does as it is told, step by step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestra_errors import InvalidRequest, Unavailable, WorkerLost
from orchestra_inference_node.adapters.exllamav2.driver import Driver
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Output, Piece


class Job:
    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self.identifier: Any = None


class Run:
    """A job of some tokens; it has ended with the last of them."""

    def __init__(self, tokens: int = 3, wrong: Exception | None = None) -> None:
        self.box = Mailbox()
        self.ended = False
        self._tokens = tokens
        self._wrong = wrong

    def open(self) -> Job:
        if self._wrong is not None:
            raise self._wrong
        return Job(self._tokens)

    def read(self, said: Mapping[str, Any]) -> list[Output]:
        self.ended = said["left"] == 0
        return [Piece(tokens=1)]

    async def all(self) -> int | Exception:
        """How many tokens came until it ended, or the error."""
        seen = 0
        while True:
            item = await self.box.get(20.0)
            if isinstance(item, Exception):
                return item
            assert isinstance(item, Piece), "it never ended"
            seen += item.tokens
            if seen == self._tokens:
                return seen


class Generator:
    """Two jobs at once; a step is one token of each. `step` may fail it."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.pending_jobs: list[Job] = []
        self.active: list[Job] = []
        self.sampling_pool = ThreadPoolExecutor(1)
        self.filter_pool = ThreadPoolExecutor(1)
        self.cancel_fails = False
        self._step = step

    def enqueue(self, job: Job) -> None:
        self.pending_jobs.append(job)

    def cancel(self, job: Job) -> None:
        if self.cancel_fails:
            raise RuntimeError("cancel failed")
        for jobs in (self.pending_jobs, self.active):
            if job in jobs:
                jobs.remove(job)

    def iterate(self) -> list[dict[str, Any]]:
        while self.pending_jobs and len(self.active) < 2:
            self.active.append(self.pending_jobs.pop(0))
        self._step()
        said = []
        for job in self.active:
            job.left -= 1
            said.append({"identifier": job.identifier, "left": job.left})
        self.active = [job for job in self.active if job.left]
        return said


class Bench:
    """A driver, the generators that it made, and a step that waits to be let through."""

    def __init__(self) -> None:
        self.made: list[Generator] = []
        self.lost = threading.Event()
        self.failures: list[Exception] = []
        self.broken = False
        self.stepping = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.driver = Driver("m", self._make, self.lost.set)

    def _make(self) -> Generator:
        if self.broken:
            raise RuntimeError("CUDA error: device-side assert triggered")
        self.made.append(Generator(self._step))
        return self.made[-1]

    def _step(self) -> None:
        self.stepping.set()
        assert self.go.wait(20.0)
        if self.failures:
            raise self.failures.pop()

    async def hold(self) -> None:
        """Returns inside of a step."""
        self.go.clear()
        self.stepping.clear()

    async def in_step(self) -> None:
        assert await asyncio.to_thread(self.stepping.wait, 20.0)


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    yield bench
    bench.go.set()
    await asyncio.to_thread(bench.driver.close)
    for made in bench.made:
        assert made.sampling_pool._shutdown and made.filter_pool._shutdown


async def test_runs_end_with_their_tokens(bench: Bench) -> None:
    runs = [Run(tokens) for tokens in (1, 5, 3, 2)]
    for run in runs:
        bench.driver.begin(run)
    assert [await run.all() for run in runs] == [1, 5, 3, 2]


async def test_a_run_that_cannot_be_opened_fails_alone(bench: Bench) -> None:
    named, unknown, whole = Run(wrong=InvalidRequest.of("x", "is wrong")), Run(wrong=AssertionError()), Run()
    for run in (named, unknown, whole):
        bench.driver.begin(run)
    assert isinstance(await named.all(), InvalidRequest)
    failed = await unknown.all()
    assert isinstance(failed, Unavailable) and failed.retry_after
    assert await whole.all() == 3


async def test_a_failed_step_fails_what_runs_and_what_waits_goes_on(bench: Bench) -> None:
    await bench.hold()
    runs = [Run() for _ in range(3)]
    for run in runs:
        bench.driver.begin(run)
    await bench.in_step()
    bench.failures.append(RuntimeError("out of memory\nand much more"))
    bench.go.set()
    ends = [await run.all() for run in runs]
    assert isinstance(ends[0], Unavailable) and "out of memory)" in str(ends[0])
    # whether the others had begun when the step failed or had not: each ends
    assert all(end == 3 or isinstance(end, Unavailable) for end in ends)
    assert len(bench.made) == 2
    late = Run()
    bench.driver.begin(late)
    assert await late.all() == 3


async def test_a_generator_that_cannot_be_made_again_ends_everything(bench: Bench) -> None:
    await bench.hold()
    runs, late = [Run() for _ in range(4)], Run()
    for run in runs:
        bench.driver.begin(run)
    await bench.in_step()
    bench.broken = True
    bench.failures.append(RuntimeError("device-side assert"))
    bench.go.set()
    ends = [await run.all() for run in runs]
    assert all(isinstance(end, Unavailable | WorkerLost) for end in ends)
    assert await asyncio.to_thread(bench.lost.wait, 20.0)
    bench.driver.begin(late)
    assert isinstance(await late.all(), WorkerLost)
    await asyncio.wrap_future(bench.driver.cancel(runs[0]))


async def test_a_cancel_is_done_when_nothing_is_left_of_the_run(bench: Bench) -> None:
    await bench.hold()
    runs = [Run(10**9) for _ in range(3)]
    for run in runs:
        bench.driver.begin(run)
    await bench.in_step()
    cancels = [bench.driver.cancel(run) for run in runs]
    assert not any(done.done() for done in cancels), "a step is on its way"
    cancels[0].cancel()
    bench.go.set()
    for done in cancels[1:]:
        await asyncio.wrap_future(done)
    (generator,) = bench.made
    assert not generator.pending_jobs and not generator.active
    whole = Run()
    bench.driver.begin(whole)
    assert await whole.all() == 3


async def test_a_cancel_that_fails_is_a_failed_step(bench: Bench) -> None:
    await bench.hold()
    one, other = Run(10**9), Run(10**9)
    bench.driver.begin(one)
    await bench.in_step()
    bench.made[0].cancel_fails = True
    bench.driver.begin(other)
    done = bench.driver.cancel(one)
    bench.go.set()
    await asyncio.wrap_future(done)
    await asyncio.wrap_future(bench.driver.cancel(other))
    assert len(bench.made) == 2
    whole = Run()
    bench.driver.begin(whole)
    assert await whole.all() == 3


async def test_closing_tells_what_runs_and_what_comes_later(bench: Bench) -> None:
    await bench.hold()
    # more tokens than can be drawn until the close is heard
    runs = [Run(10**9) for _ in range(3)]
    for run in runs:
        bench.driver.begin(run)
    await bench.in_step()
    closing = asyncio.create_task(asyncio.to_thread(bench.driver.close))
    bench.go.set()
    await closing
    late = Run()
    bench.driver.begin(late)
    for run in (*runs, late):
        while not isinstance(item := await run.box.get(20.0), Exception):
            assert item is not None
        assert isinstance(item, WorkerLost)
