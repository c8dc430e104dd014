"""The comparison of local work with the same tokens at every priced model of the book."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.generation.v1 import usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting import ANY_MODEL, cost_of_tokens, price_at_length
from orchestra_cost_ledger.domain.budget import LOCAL
from orchestra_cost_ledger.domain.comparison import (
    Comparison,
    Line,
    Traffic,
    TrafficQuery,
    local_line,
    savings,
)
from orchestra_cost_ledger.domain.report import CostFilter
from orchestra_cost_ledger.flows.clock import Clock
from orchestra_cost_ledger.flows.pricing import Prices
from orchestra_cost_ledger.ports import LedgerStore

_NOTE = "without the provider's prompt cache and batch discount; tokens as the local model counted them"


class CompareCosts:
    """Prices are those that hold now, whenever the work was done."""

    def __init__(self, store: LedgerStore, prices: Prices, clock: Clock) -> None:
        self._store = store
        self._prices = prices
        self._clock = clock

    async def __call__(self, chosen: CostFilter, hardware_nanos: int | None) -> Comparison:
        now = self._clock()
        rows = [row for row in await self._prices.now() if row.provider != LOCAL and row.model != ANY_MODEL]
        lengths = {0} | {step.from_prompt_tokens for row in rows for step in row.steps}
        traffic = await self._store.local_traffic(TrafficQuery(chosen, tuple(sorted(lengths))))
        here = local_line(traffic)
        if here.nanos is None:
            return Comparison((here,))
        lines = [here, *(elsewhere(row, traffic) for row in rows)]
        priced = [line for line in lines[1:] if line.nanos is not None]
        if hardware_nanos is None or not priced:
            return Comparison(tuple(lines))
        cheapest = min(priced, key=lambda line: line.nanos or 0)
        first = min(one.first_at for one in traffic if one.attempts)
        since = first if chosen.since is None else chosen.since
        until = now if chosen.until is None else min(now, chosen.until)
        line, months = savings(traffic, cheapest, hardware_nanos, since, until)
        return Comparison((*lines, line), months)


def elsewhere(row: entry_pb2.Price, traffic: Sequence[Traffic]) -> Line:
    """The same tokens at one model's price, each class of prompt length at its step."""
    label = f"{row.provider}/{row.model}"
    total, terms = 0, []
    for one in traffic:
        if not one.attempts:
            continue
        price = price_at_length(row, one.from_prompt_tokens)
        usage = usage_pb2.Usage(
            prompt_tokens=one.prompt_tokens,
            completion_tokens=one.completion_tokens,
            cached_prompt_tokens=0,
            cache_write_tokens=0,
            reasoning_tokens=0,
        )
        cost = cost_of_tokens(price, usage)
        if not cost.HasField("nanos"):
            return Line(label, None, "no price of its input or output", f"row {row.price_version}")
        total += cost.nanos
        terms.append(
            f"({one.prompt_tokens} × {price.input_nanos_per_million}"
            f" + {one.completion_tokens} × {price.output_nanos_per_million}) / 1000000"
        )
    return Line(label, total, " + ".join(terms), f"row {row.price_version}; {_NOTE}")
