"""Work in an engine's own threads that a cancel ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(threads: Executor, work: Callable[[], T], give_up: Callable[[], None]) -> T:
    """What `work` returns. A cancel calls `give_up`, which makes the work end early, and goes on once the
    thread is free."""
    doing = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        give_up()
        await asyncio.wait([doing])
        if not doing.cancelled():
            # nobody else asks how it ended
            doing.exception()
        raise
