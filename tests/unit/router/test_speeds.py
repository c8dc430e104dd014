"""Which speed of a target counts, what company costs it, and what is expected of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.inference.v1 import node_pb2
from orchestra.ledger.v1.entry_pb2 import Price
from orchestra_router.adapters.placements import measured_of
from orchestra_router.domain.choosing import Choice, Prices, choose
from orchestra_router.domain.job import Job
from orchestra_router.domain.speeds import at_once, expected, own_speed, speed_source
from orchestra_router.domain.targets import Load, Measured, Power, Snapshot, Target
from orchestra_router.flows.explain import Explained
from orchestra_router.flows.pricing import likely_local
from orchestra_router.rpc.convert import explained

FREE = Prices(lambda job, target: 0, lambda job, target: 0)
CURVE = Measured(((1, 30.0), (4, 90.0), (8, 120.0)), first_token_s=0.5, prefill_per_s=200.0)


def target(model: str = "a", **fields: object) -> Target:
    base = Target(
        model=model,
        worker_id=model,
        instance_id="i",
        address="h:1",
        slots_total=8,
        slots_free=8,
        measured=CURVE,
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def first(*targets: Target, load: Load | None = None) -> str:
    made = choose(Job(objective="speed"), Snapshot(targets, {}, "", 1.0), load or Load(), 0.0, FREE)
    assert isinstance(made, Choice)
    return made.ranked[0].model


def test_between_two_measured_points_lies_a_line_and_beyond_the_last_nothing_grows() -> None:
    found = {count: at_once(CURVE, count) for count in (1, 2, 4, 6, 8, 20)}
    assert found == {1: 30.0, 2: 50.0, 4: 90.0, 6: 105.0, 8: 120.0, 20: 120.0}


@given(st.integers(0, 40), st.integers(1, 16))
def test_more_company_never_makes_one_request_faster(there: int, slots: int) -> None:
    def own(running: int) -> float:
        one = target(slots_total=slots, slots_free=slots)
        speed = own_speed(one, Load(running={one.key: running}))
        assert speed is not None
        return speed

    assert own(there + 1) <= own(there)


def test_the_measured_speed_goes_before_the_live_one() -> None:
    """The sum over many requests makes a busy target look fast; the measurement tells what is left."""
    busy = target("busy", tokens_per_second=120.0, slots_free=1)
    quiet = target("quiet", measured=Measured(((1, 25.0),)))
    assert first(busy, quiet) == "quiet"
    assert own_speed(busy, Load()) == pytest.approx(120.0 / 8)
    assert speed_source(busy, Load()) == (
        "tokens per second for one more request: measured at 1, 4, 8 at once, 7 there now"
    )


def test_without_a_measurement_the_live_speed_stands_in_and_says_so() -> None:
    live = target("live", tokens_per_second=40.0, measured=None)
    nothing = target("nothing", measured=None)
    assert first(live, nothing, target("slow", measured=Measured(((1, 10.0),)))) == "live"
    assert "last minute" in speed_source(live, Load())
    assert (own_speed(nothing, Load()), speed_source(nothing, Load())) == (None, "nobody measured its speed")


def test_work_spreads_as_the_fast_one_fills() -> None:
    fast, slow = target("fast"), target("slow", measured=Measured(((1, 20.0), (8, 80.0))))
    assert first(fast, slow) == "fast"
    assert first(fast, slow, load=Load(running={fast.key: 6})) == "slow"


def test_what_is_expected_counts_prompt_answer_and_company() -> None:
    job = Job(likely_prompt_tokens=400, max_tokens=60)
    alone = expected(job, target(), Load())
    assert alone is not None
    assert alone.latency_s == pytest.approx(0.5 + 400 / 200 + 60 / 30)
    assert alone.device_s == pytest.approx(400 / 200 + 60 / 30)
    one = target()
    with_three = expected(job, one, Load(running={one.key: 3}))
    assert with_three is not None
    assert with_three.latency_s == pytest.approx(0.5 + 2 + 60 / (90 / 4))
    assert with_three.device_s == pytest.approx(2 + 60 / 90)
    assert expected(job, target(measured=None, tokens_per_second=9.0), Load()) is None


def test_explaining_tells_latency_and_the_price_of_measured_power() -> None:
    class Tariff:
        def price(self, provider: str, model: str) -> Price:
            return Price(electricity_nanos_per_kwh=150_000_000)

    one = target(power=Power(watts=36.0, measured=True))
    assert likely_local(Tariff(), one, 100.0) == 150_000  # 36 W x 100 s = 0.001 kWh
    assert likely_local(Tariff(), target(), 100.0) is None, "nobody knows its watts"
    choice = choose(Job(), Snapshot((one, target("b")), {}, "", 1.0), Load(), 0.0, FREE)
    told = explained(Explained(choice, "", None, {one.key: 1.5}, {one.key: 7})).candidates
    by_model = {candidate.model: candidate for candidate in told}
    assert by_model["a"].estimated_latency.ToMilliseconds() == 1500
    assert by_model["a"].estimated_cost_nanos == 7
    assert not by_model["b"].HasField("estimated_latency")
    assert not by_model["b"].HasField("estimated_cost_nanos")


def test_what_a_placement_says_of_its_worker_is_read_whole() -> None:
    told = node_pb2.MeasuredSpeed(
        at=[node_pb2.SpeedAt(parallel=4, per_second=90.0), node_pb2.SpeedAt(parallel=1, per_second=30.0)],
        prefill_tokens_per_second=200.0,
    )
    told.first_token.FromMilliseconds(500)
    assert measured_of(told) == Measured(((1, 30.0), (4, 90.0)), 0.5, 200.0)
    assert measured_of(node_pb2.MeasuredSpeed()) == Measured()
