"""The service's counters for Prometheus, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from orchestra_cache.domain.counters import Counters

_NAMES = {
    "lookups": "Lookups answered",
    "draws_wanted": "Draws asked for where stored draws may answer",
    "draws_served": "Draws served from the store",
    "draws_stored": "Draws stored",
    "replays": "Requests answered from their replay record",
    "saved_nanos": "What the served draws would have cost again, in nano-dollars",
    "served_without_cost": "Draws served whose cost is not known",
    "damaged": "Stored values that could not be read",
}


class HitMetrics(Collector):
    def __init__(self, counters: Counters, registry: CollectorRegistry) -> None:
        self._counters = counters
        registry.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        for name, about in _NAMES.items():
            yield CounterMetricFamily(f"orchestra_cache_{name}", about, value=getattr(self._counters, name))
        misses = CounterMetricFamily(
            "orchestra_cache_misses", "Lookups that got fewer draws than they asked for", labels=["reason"]
        )
        for miss, count in list(self._counters.misses.items()):
            misses.add_metric([miss.value], count)
        yield misses
