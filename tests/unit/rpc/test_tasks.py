"""Tasks that outlive a call have an owner that ends them and tells when one fails."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from orchestra_rpc import Background, Deadline


async def test_close_cancels_and_waits() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with Background() as background:
        task = background.spawn(work(), name="work")
        await began.wait()
        assert len(background) == 1
    assert task.cancelled()
    assert ended.is_set()
    with pytest.raises(RuntimeError, match="late was spawned after close"):
        background.spawn(work(), name="late")


async def test_a_failure_is_logged_with_its_name_and_a_result_is_kept() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def answer() -> int:
        return 7

    with capture_logs() as lines:
        async with Background() as background:
            await asyncio.wait([background.spawn(fail(), name="flush")])
            assert await background.spawn(answer(), name="answer") == 7
    (line,) = lines
    assert (line["event"], line["task"], line["log_level"]) == ("background task failed", "flush", "error")


def test_deadlines_only_shrink() -> None:
    deadline = Deadline.after(10)
    assert 9 < deadline.minus(0.5).remaining() < deadline.remaining() <= 10
    assert Deadline.after(-1).expired
    assert Deadline.after(-1).remaining() == 0.0
