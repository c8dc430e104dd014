"""Local samples cost power and hardware; what nobody measured or declared is not invented."""

from __future__ import annotations

from orchestra.generation.v1.usage_pb2 import COST_STATE_ESTIMATED, COST_STATE_SETTLED, COST_STATE_UNKNOWN
from orchestra.ledger.v1.entry_pb2 import Price
from orchestra_accounting import cost_of_local

TARIFF = Price(price_version="t", electricity_nanos_per_kwh=150_000_000)


def test_an_hour_of_a_kilowatt_costs_the_tariff() -> None:
    cost = cost_of_local(TARIFF, 1_000, 3_600.0, 2_000)
    assert (cost.electricity_nanos, cost.hardware_nanos, cost.nanos) == (150_000_000, 2_000, 150_002_000)
    assert (cost.state, cost.price_version) == (COST_STATE_ESTIMATED, "t")


def test_metered_power_settles() -> None:
    assert cost_of_local(TARIFF, 15.0, 1.0, measured=True).state == COST_STATE_SETTLED


def test_hardware_of_unknown_price_stays_absent() -> None:
    cost = cost_of_local(TARIFF, 15.0, 2.5)
    assert not cost.HasField("hardware_nanos")
    assert cost.nanos == cost.electricity_nanos == 1563  # 15 W × 2.5 s × 150e6 / 3.6e6 = 1562.5


def test_without_watts_time_or_tariff_the_cost_is_unknown() -> None:
    for cost in (
        cost_of_local(TARIFF, None, 1.0, 3_600),
        cost_of_local(TARIFF, 15.0, None),
        cost_of_local(None, 15.0, 1.0),
        cost_of_local(Price(), 15.0, 1.0),
    ):
        assert cost.state == COST_STATE_UNKNOWN
        assert not cost.HasField("nanos")
    assert cost_of_local(TARIFF, None, 1.0, 3_600).hardware_nanos == 1


def test_no_time_costs_nothing() -> None:
    cost = cost_of_local(TARIFF, 15.0, 0.0, 0)
    assert cost.HasField("nanos")
    assert cost.nanos == 0
