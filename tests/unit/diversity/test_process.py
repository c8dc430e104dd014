"""The bounded child process, with real children and really hostile answers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import psutil
import pytest

from orchestra_diversity import DiversityBusy, DiversityFailed, DiversityProcess, Limits, Sample, measure

SOLUTION = Sample("def double(x):\n    return 2 * x", "m")
ANOTHER = Sample("def double(x):\n    return sum(x for _ in range(2))", "n")
BOMB = Sample("(" * 100_000, "bomb")
# Parses, but holds the reader for seconds; and one whose tree takes more memory than it is given.
SLOW = Sample("x = 1\n" * 160_000, "slow")
LARGE = Sample("```python\nx = [" + "a, " * 60_000 + "]\n```", "large")


@pytest.fixture
async def diversity() -> AsyncIterator[DiversityProcess]:
    async with DiversityProcess() as process:
        yield process


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


async def end_of(pid: int) -> None:
    """Waits for the event that a process ended."""
    ended = asyncio.Event()
    watched = os.pidfd_open(pid)
    asyncio.get_running_loop().add_reader(watched, ended.set)
    try:
        await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)


async def test_the_report_is_the_one_that_measure_gives(diversity: DiversityProcess) -> None:
    samples = [SOLUTION, ANOTHER, SOLUTION, Sample("\ud800 is no letter", "n"), Sample("", "m")]
    embeddings = [[float(i == j) for j in range(5)] for i in range(5)]
    assert await diversity.measure(samples) == measure(samples)
    assert await diversity.measure(samples, embeddings) == measure(samples, embeddings)


async def test_the_child_starts_with_the_first_job_and_is_used_again() -> None:
    async with DiversityProcess() as diversity:
        assert diversity.child_pid is None
        await diversity.measure([SOLUTION])
        pid = diversity.child_pid
        assert pid is not None
        await diversity.measure([ANOTHER])
        assert diversity.child_pid == pid
    assert gone(pid)


async def test_a_nesting_bomb_is_named_and_the_others_are_measured(diversity: DiversityProcess) -> None:
    report = await diversity.measure([SOLUTION, BOMB, ANOTHER])
    assert report.readings[1].problem is not None and report.readings[1].form != "ast"
    assert [report.readings[index].form for index in (0, 2)] == ["ast", "ast"]
    assert report.combined.effective_number > 2.0


WITH_ROOM = Limits(
    sample_seconds=0.4, sample_chars=len(SLOW.text), chars=4 * len(SLOW.text), memory_bytes=4 << 30
)


async def test_a_sample_that_takes_too_long_is_left_unparsed() -> None:
    async with DiversityProcess(WITH_ROOM) as diversity:
        await diversity.measure([SOLUTION])
        first = diversity.child_pid
        report = await diversity.measure([SOLUTION, SLOW])
        assert report.readings[0].form == "ast"
        assert report.readings[1].form == "tokens"
        assert report.readings[1].problem == "reading it took longer than 0.4 s"
        assert diversity.child_pid != first


async def test_a_sample_that_takes_too_much_memory_is_left_unparsed() -> None:
    async with DiversityProcess(Limits(memory_bytes=24 << 20, sample_chars=200_000)) as diversity:
        report = await diversity.measure([SOLUTION, LARGE])
        assert report.readings[0].form == "ast"
        assert report.readings[1].form == "tokens"
        assert "too large" in (report.readings[1].problem or "") or "memory" in (
            report.readings[1].problem or ""
        )


async def test_after_a_few_samples_that_end_the_reader_no_further_one_is_parsed() -> None:
    async with DiversityProcess(replace(WITH_ROOM, restarts=1, seconds=50.0)) as diversity:
        report = await diversity.measure([SLOW, SLOW, SOLUTION])
        assert report.readings[2].form == "tokens"
        assert report.readings[2].problem == "not parsed: 2 other samples of the set ended the reader"


async def test_a_sample_longer_than_the_bound_is_cut_and_says_so() -> None:
    async with DiversityProcess(Limits(sample_chars=10)) as diversity:
        report = await diversity.measure([SOLUTION])
        assert report.readings[0].code == SOLUTION.text[:10]
        assert "longer than 10 characters" in (report.readings[0].problem or "")


async def test_a_child_that_died_between_jobs_is_replaced(diversity: DiversityProcess) -> None:
    await diversity.measure([SOLUTION])
    pid = diversity.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert (await diversity.measure([SOLUTION])).readings[0].form == "ast"
    assert diversity.child_pid != pid


async def test_a_frozen_child_costs_the_job_its_time_and_not_the_event_loop() -> None:
    async with DiversityProcess(Limits(seconds=0.2)) as diversity:
        diversity.limits = Limits(seconds=20.0)
        await diversity.measure([SOLUTION])
        diversity.limits = Limits(seconds=0.2)
        pid = diversity.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        job = asyncio.create_task(diversity.measure([SOLUTION]))
        turns = 0
        while not job.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100
        with pytest.raises(DiversityFailed, match=r"longer than 0\.2 s"):
            await job
        assert gone(pid)
        diversity.limits = Limits()
        assert await diversity.measure([SOLUTION]) == measure([SOLUTION])


async def test_cancelling_ends_the_work_and_the_next_job_runs(diversity: DiversityProcess) -> None:
    await diversity.measure([SOLUTION])
    pid = diversity.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    job = asyncio.create_task(diversity.measure([SOLUTION]))
    waiting = asyncio.create_task(diversity.measure([ANOTHER]))
    await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    assert gone(pid)
    assert (await waiting).readings[0].code == ANOTHER.text


async def test_cancelling_one_that_waits_leaves_the_running_one_alone(diversity: DiversityProcess) -> None:
    await diversity.measure([SOLUTION])
    pid = diversity.child_pid
    running = asyncio.create_task(diversity.measure([SOLUTION]))
    waiting = asyncio.create_task(diversity.measure([ANOTHER]))
    await asyncio.sleep(0)
    waiting.cancel()
    assert (await running).readings[0].form == "ast"
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert diversity.child_pid == pid


async def test_a_full_line_refuses() -> None:
    async with DiversityProcess(Limits(waiting=1)) as diversity:
        jobs = [asyncio.create_task(diversity.measure([SOLUTION])) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(DiversityBusy):
            await diversity.measure([SOLUTION])
        await asyncio.gather(*jobs)
        await diversity.measure([SOLUTION])


async def test_an_idle_child_is_ended() -> None:
    async with DiversityProcess(Limits(idle_seconds=0.05)) as diversity:
        await diversity.measure([SOLUTION])
        pid = diversity.child_pid
        assert pid is not None
        await end_of(pid)
        assert diversity.child_pid is None
        await diversity.measure([SOLUTION])


@pytest.mark.parametrize(
    ("samples", "embeddings", "why"),
    [
        ([], None, "at least one"),
        ([SOLUTION] * 3, None, "more than the 2"),
        ([SLOW], None, "characters"),
        ([SOLUTION], [[1.0], [2.0]], "1 vectors"),
        ([SOLUTION, ANOTHER], [[1.0], [2.0, 3.0]], "2 vectors"),
    ],
)
async def test_a_set_that_does_not_fit_is_refused_without_a_child(samples, embeddings, why) -> None:
    limits = Limits(samples=2, sample_chars=10_000_000, chars=1_000)
    async with DiversityProcess(limits) as diversity:
        with pytest.raises(ValueError, match=why):
            await diversity.measure(samples, embeddings)
        assert diversity.child_pid is None


async def test_embeddings_that_only_the_child_can_judge_are_refused_and_the_child_lives(
    diversity: DiversityProcess,
) -> None:
    with pytest.raises(ValueError, match="length zero"):
        await diversity.measure([SOLUTION, ANOTHER], [[1.0], [0.0]])
    pid = diversity.child_pid
    await diversity.measure([SOLUTION])
    assert diversity.child_pid == pid is not None


async def test_closing_ends_a_job_under_way() -> None:
    diversity = DiversityProcess()
    await diversity.measure([SOLUTION])
    pid = diversity.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    job = asyncio.create_task(diversity.measure([SOLUTION]))
    await asyncio.sleep(0)
    await diversity.aclose()
    with pytest.raises(DiversityFailed):
        await job
    assert gone(pid)
    with pytest.raises(DiversityFailed, match="closed"):
        await diversity.measure([SOLUTION])


async def test_the_child_sees_nothing_secret_of_its_parent(diversity: DiversityProcess, monkeypatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-secret")
    await diversity.measure([SOLUTION])
    child = psutil.Process(diversity.child_pid)
    assert "SOME_API_KEY" not in child.environ()
    assert len(child.net_connections()) == 0


def test_a_service_that_holds_the_facade_does_not_load_numpy() -> None:
    code = (
        "import sys; from orchestra_diversity import DiversityProcess, Sample, select_diverse;"
        "print('numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "False"
