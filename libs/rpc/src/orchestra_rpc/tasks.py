"""An owner for tasks that outlive the call that started them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from orchestra_rpc.deadline import deadline_scope

T = TypeVar("T")
log = structlog.get_logger()


class Background:
    """Holds tasks, logs those that fail and cancels the rest when it closes.

    A task keeps the trace of whoever spawned it but not the deadline: it outlives the call.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Start `work`; raises RuntimeError after close."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{name} was spawned after close")
        context = contextvars.copy_context()
        with_no_deadline = context.run(_without_deadline)
        task = asyncio.get_running_loop().create_task(work, name=name, context=with_no_deadline)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task failed", task=task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel every task and wait until each has ended."""
        self._closed = True
        while pending := [task for task in self._tasks if task is not asyncio.current_task()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        await self.close()


def _without_deadline() -> contextvars.Context:
    with deadline_scope(None):
        return contextvars.copy_context()
