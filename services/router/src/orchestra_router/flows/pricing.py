"""What samples cost, by the price book as last heard."""

from __future__ import annotations

from orchestra.generation.v1 import event_pb2, usage_pb2
from orchestra_accounting import cost_of_local, cost_of_tokens, worst_case

from ..domain.choosing import Prices as Estimates
from ..domain.job import Job
from ..domain.speeds import USUAL_ANSWER_TOKENS
from ..domain.targets import LOCAL, Target
from ..ports import Prices


def estimates(prices: Prices) -> Estimates:
    """For the choice. What local samples cost in power is not in it: it is known only afterwards, and of a
    model that nobody measured not even likely."""

    def likely(job: Job, target: Target) -> int | None:
        if target.local:
            return 0
        price = prices.price(target.provider, target.model)
        return worst_case(price, job.likely_prompt_tokens, job.max_tokens or USUAL_ANSWER_TOKENS)

    def worst(job: Job, target: Target) -> int | None:
        if target.local:
            return 0
        return worst_case(
            prices.price(target.provider, target.model), job.likely_prompt_tokens, job.max_tokens
        )

    return Estimates(likely, worst)


def cost_of(
    prices: Prices, target: Target, usage: usage_pb2.Usage, timings: usage_pb2.Timings | None
) -> usage_pb2.Cost:
    """The cost of one sample; UNKNOWN where price, power or usage is."""
    if not target.local:
        return cost_of_tokens(prices.price(target.provider, target.model), usage)
    share = None
    if timings is not None and timings.HasField("device_share"):
        share = timings.device_share.ToNanoseconds() / 1e9
    return _of_device_time(prices, target, share)


def likely_local(prices: Prices, target: Target, device_s: float) -> int | None:
    """Nano-dollars of so much time of a local target's devices; None where power or tariff is not known."""
    cost = _of_device_time(prices, target, device_s)
    return cost.nanos if cost.HasField("nanos") else None


def _of_device_time(prices: Prices, target: Target, device_s: float | None) -> usage_pb2.Cost:
    power = target.power
    price = prices.price(LOCAL, target.model)
    return cost_of_local(price, power.watts, device_s, power.hardware_nanos_per_hour, measured=power.measured)


def complete_cost(prices: Prices, target: Target, finished: event_pb2.Finished) -> None:
    """Set the cost where the server that answered left it out: a worker knows no prices."""
    if not finished.HasField("cost"):
        timings = finished.timings if finished.HasField("timings") else None
        finished.cost.CopyFrom(cost_of(prices, target, finished.usage, timings))
    if finished.cost.price_version and finished.HasField("provenance"):
        finished.provenance.price_version = finished.cost.price_version


def total(costs: list[usage_pb2.Cost]) -> usage_pb2.Cost:
    """The sum of what is known; its state is the least certain of the parts, and UNKNOWN of none."""
    whole = usage_pb2.Cost(state=usage_pb2.COST_STATE_UNKNOWN)
    if not costs:
        return whole
    whole.state = max((cost.state or usage_pb2.COST_STATE_UNKNOWN) for cost in costs)
    for field in ("nanos", "electricity_nanos", "hardware_nanos", "saved_nanos"):
        known = [getattr(cost, field) for cost in costs if cost.HasField(field)]
        if known:
            setattr(whole, field, sum(known))
    return whole
