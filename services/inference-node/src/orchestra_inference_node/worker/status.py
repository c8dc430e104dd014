"""The figures of a worker, told to its daemon when they move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sized

from orchestra_inference_node.flows.sample import SampleFlow
from orchestra_inference_node.worker.link import Reports

# what a call leaves behind is seen once it has gone; counting in every step would cost more than it tells
_LOOK_S = 1.0


class StatusReports:
    """Many changes in one step of the loop make one line; calls and tasks are looked at once a second while
    calls run, and until what was told of them is still so."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._samples: SampleFlow | None = None
        self._calls: Sized = ()
        self._tasks = 0
        self._told = (0, 0)
        self._pending = False
        self._look: asyncio.TimerHandle | None = None

    def watch(self, samples: SampleFlow) -> None:
        self._samples = samples

    def serving(self, calls: Sized) -> None:
        """`calls` has those that run."""
        self._calls = calls
        self.touch()

    def touch(self) -> None:
        """Something changed."""
        loop = asyncio.get_running_loop()
        if not self._pending:
            self._pending = True
            loop.call_soon(self._send)
        if self._look is None:
            self._look = loop.call_later(_LOOK_S, self._count)

    def _count(self) -> None:
        self._look = None
        self._tasks = len(asyncio.all_tasks())
        if self._calls or (len(self._calls), self._tasks) != self._told:
            self.touch()

    def _send(self) -> None:
        self._pending = False
        if self._samples is None:
            return
        admission = self._samples.slots.admission
        self._told = len(self._calls), self._tasks
        self._reports.send(
            "status",
            slots_free=admission.slots_free,
            queued=admission.queued,
            tokens_per_second=self._samples.speed.tokens_per_second(time.monotonic()),
            calls=self._told[0],
            tasks=self._told[1],
        )
