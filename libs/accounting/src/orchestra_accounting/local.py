"""What a local sample costs: the power that it drew and its share of the hardware's price."""

from __future__ import annotations

from fractions import Fraction

from orchestra.generation.v1 import usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.rounding import exact, half_up

JOULES_PER_KWH = 3_600_000
SECONDS_PER_HOUR = 3_600


def cost_of_local(
    price: entry_pb2.Price | None,
    watts: float | None,
    device_share_s: float | None,
    hardware_nanos_per_hour: int | None = None,
    *,
    measured: bool = False,
) -> usage_pb2.Cost:
    """Watts × seconds × tariff, and seconds × the hardware's price per hour; each rounded half up once.

    `device_share_s`: the sample's share of the device's time, in seconds. SETTLED when a meter `measured` the
    watts, ESTIMATED when they are declared, UNKNOWN (without nanos) when the watts, the time or the tariff
    are not known; the part that is known is then still named. Without a price of the hardware `nanos` is the
    electricity alone, and `hardware_nanos` is absent.
    """
    cost = usage_pb2.Cost(
        state=usage_pb2.COST_STATE_UNKNOWN, price_version=price.price_version if price is not None else ""
    )
    if device_share_s is None:
        return cost
    seconds = exact(device_share_s)
    if hardware_nanos_per_hour is not None:
        cost.hardware_nanos = half_up(Fraction(hardware_nanos_per_hour) * seconds / SECONDS_PER_HOUR)
    if watts is None or price is None or not price.HasField("electricity_nanos_per_kwh"):
        return cost
    joules = exact(watts) * seconds
    cost.electricity_nanos = half_up(joules * price.electricity_nanos_per_kwh / JOULES_PER_KWH)
    cost.nanos = cost.electricity_nanos + cost.hardware_nanos
    cost.state = usage_pb2.COST_STATE_SETTLED if measured else usage_pb2.COST_STATE_ESTIMATED
    return cost
