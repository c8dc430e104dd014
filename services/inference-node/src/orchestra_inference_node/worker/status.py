"""The figures of a worker, told to its daemon when they move."""

from __future__ import annotations

import asyncio
import time

from orchestra_inference_node.flows.sample import SampleFlow
from orchestra_inference_node.worker.link import Reports


class StatusReports:
    """Many changes in one step of the loop make one line."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._samples: SampleFlow | None = None
        self._pending = False

    def watch(self, samples: SampleFlow) -> None:
        self._samples = samples

    def touch(self) -> None:
        """Something changed."""
        if not self._pending:
            self._pending = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._pending = False
        if self._samples is None:
            return
        admission = self._samples.slots.admission
        self._reports.send(
            "status",
            slots_free=admission.slots_free,
            queued=admission.queued,
            tokens_per_second=self._samples.speed.tokens_per_second(time.monotonic()),
        )
