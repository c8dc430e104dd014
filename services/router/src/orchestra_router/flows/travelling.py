"""A journey as a task of a larger call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from orchestra_rpc import Background, Deadline, deadline_scope

from .item import Item
from .journey import Journey


def set_out(
    journey: Journey,
    item: Item,
    tasks: Background,
    deadline: Deadline | None,
    ended: Callable[[BaseException | None], None],
) -> None:
    """Run the journey as one of `tasks`, within the call's deadline. `ended` is called once: with the mistake
    of ours that ended it, or with None when every sample has had its last event."""

    def done(task: asyncio.Task[None]) -> None:
        if task.cancelled() and item.stopped is not None:
            # told to end from outside, by its run or by its label: its samples say so
            journey.tell(item.stopped)
        ended(None if task.cancelled() else task.exception())

    task = tasks.spawn(_travel(journey, deadline), name="journey")
    item.on_stop = lambda: _cancel(task)
    task.add_done_callback(done)


async def _travel(journey: Journey, deadline: Deadline | None) -> None:
    with deadline_scope(deadline):
        async with aclosing(journey.run()) as pulses:
            async for _ in pulses:
                pass


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
