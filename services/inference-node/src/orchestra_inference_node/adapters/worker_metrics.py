"""What the workers do, for Prometheus, read when it is scraped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from orchestra_inference_node.domain.resident import Resident

_NAMES = {
    "slots_free": "Slots of the engine that nobody holds",
    "queued": "Requests that wait for a slot",
    "calls": "Calls being answered",
    "tasks": "Tasks of the worker's event loop",
}


class WorkerMetrics(Collector):
    """Figures of each resident model by its name, and the daemon's own tasks."""

    def __init__(
        self,
        residents: Callable[[], Iterable[Resident]],
        loop: asyncio.AbstractEventLoop,
        registry: CollectorRegistry,
    ) -> None:
        self._residents = residents
        self._loop = loop
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        residents = list(self._residents())
        for name, about in _NAMES.items():
            family = GaugeMetricFamily(f"orchestra_worker_{name}", about, labels=["model"])
            for resident in residents:
                family.add_metric([resident.wanted.model], getattr(resident, name))
            yield family
        tasks = len(asyncio.all_tasks(self._loop))
        yield GaugeMetricFamily("orchestra_node_tasks", "Tasks of the daemon's event loop", value=tasks)
