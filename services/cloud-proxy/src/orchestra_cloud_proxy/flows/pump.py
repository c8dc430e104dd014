"""One task reads one upstream stream: leaving a stream keeps its connection, cancelling the task does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import structlog

from orchestra_cloud_proxy.flows.mailbox import Mailbox

T = TypeVar("T")
READY_AT_MOST = 64
CLOSE_S = 1.0
log = structlog.get_logger()


@asynccontextmanager
async def pumped(source: Callable[[], AsyncGenerator[T, None]]) -> AsyncIterator[Mailbox[T]]:
    """What `source` yields, in a bounded mailbox that ends as the source ends. On every way out the reading
    task is cancelled and has ended, so that the connection is closed."""
    box: Mailbox[T] = Mailbox(READY_AT_MOST)

    async def read() -> None:
        try:
            async with aclosing(source()) as items:
                async for item in items:
                    await box.put(item)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            box.close(error)
        else:
            box.close()

    task = asyncio.get_running_loop().create_task(read(), name="upstream")
    try:
        yield box
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=CLOSE_S)
        if not task.done():
            log.error("upstream stream does not close", seconds=CLOSE_S)
