"""Money is exact: bounds hold for every usage, and nothing unknown is taken for zero."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from orchestra.generation.v1.usage_pb2 import (
    COST_STATE_ESTIMATED,
    COST_STATE_SETTLED,
    COST_STATE_UNKNOWN,
    Usage,
)
from orchestra.ledger.v1.entry_pb2 import Price, PriceStep
from orchestra_accounting import cost_of_tokens, worst_case

rate = st.integers(0, 200_000_000_000)
maybe_rate = st.none() | rate


@st.composite
def prices(draw: st.DrawFn, rates: st.SearchStrategy[int | None] = maybe_rate) -> Price:
    return Price(
        price_version="v",
        provider="p",
        model="m",
        input_nanos_per_million=draw(rates),
        output_nanos_per_million=draw(rates),
        cached_input_nanos_per_million=draw(maybe_rate),
        cache_write_nanos_per_million=draw(maybe_rate),
        reasoning_nanos_per_million=draw(maybe_rate),
        batch_factor=draw(st.none() | st.sampled_from([0.5, 0.1, 0.75])),
        steps=[
            PriceStep(
                from_prompt_tokens=draw(st.integers(1, 300_000)),
                input_nanos_per_million=draw(maybe_rate),
                output_nanos_per_million=draw(maybe_rate),
                cached_input_nanos_per_million=draw(maybe_rate),
            )
            for _ in range(draw(st.integers(0, 2)))
        ],
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt, answer = draw(st.integers(0, 1_000_000)), draw(st.integers(0, 100_000))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=answer,
        cached_prompt_tokens=draw(st.none() | st.integers(0, prompt)),
        cache_write_tokens=draw(st.none() | st.integers(0, prompt)),
        reasoning_tokens=draw(st.none() | st.integers(0, answer)),
    )


@given(prices(), usages(), st.integers(0, 1_000), st.integers(0, 1_000), st.booleans())
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    price: Price, usage: Usage, more_prompt: int, more_answer: int, batch: bool
) -> None:
    bound = worst_case(
        price, usage.prompt_tokens + more_prompt, usage.completion_tokens + more_answer, batch_job=batch
    )
    cost = cost_of_tokens(price, usage, batch_job=batch)
    if bound is not None and cost.HasField("nanos"):
        assert cost.nanos <= bound


@given(prices(rate), usages())
def test_a_cost_is_within_half_a_nano_per_component_of_the_exact_sum(price: Price, usage: Usage) -> None:
    price.ClearField("steps")
    price.ClearField("cached_input_nanos_per_million")
    price.ClearField("reasoning_nanos_per_million")
    price.ClearField("cache_write_nanos_per_million")
    usage.ClearField("cached_prompt_tokens")
    usage.ClearField("cache_write_tokens")
    usage.ClearField("reasoning_tokens")
    cost = cost_of_tokens(price, usage)
    exact = Fraction(
        usage.prompt_tokens * price.input_nanos_per_million
        + usage.completion_tokens * price.output_nanos_per_million,
        1_000_000,
    )
    assert cost.state == COST_STATE_SETTLED
    assert abs(cost.nanos - exact) <= 1


@given(prices(), usages(), st.booleans())
def test_nanos_are_absent_exactly_when_the_cost_is_unknown(price: Price, usage: Usage, batch: bool) -> None:
    cost = cost_of_tokens(price, usage, batch_job=batch)
    assert cost.HasField("nanos") == (cost.state != COST_STATE_UNKNOWN)
    assert cost.price_version == "v"


def gpt() -> Price:
    return Price(
        input_nanos_per_million=2_500_000_000,
        output_nanos_per_million=10_000_000_000,
        cached_input_nanos_per_million=1_250_000_000,
        batch_factor=0.5,
        steps=[PriceStep(from_prompt_tokens=128_001, input_nanos_per_million=5_000_000_000)],
    )


def test_cached_tokens_pay_their_own_rate() -> None:
    cost = cost_of_tokens(gpt(), Usage(prompt_tokens=1_000, cached_prompt_tokens=400, completion_tokens=10))
    assert (cost.nanos, cost.state) == (600 * 2_500 + 400 * 1_250 + 10 * 10_000, COST_STATE_SETTLED)


def test_an_unknown_number_of_cached_tokens_is_charged_at_the_dearer_rate_and_said_to_be_estimated() -> None:
    cost = cost_of_tokens(gpt(), Usage(prompt_tokens=1_000, completion_tokens=0))
    assert (cost.nanos, cost.state) == (1_000 * 2_500, COST_STATE_ESTIMATED)


def claude() -> Price:
    price = gpt()
    price.cache_write_nanos_per_million = 3_125_000_000
    return price


def test_cache_writes_pay_their_own_rate_beside_cached_and_fresh_tokens() -> None:
    usage = Usage(prompt_tokens=1_000, cached_prompt_tokens=400, cache_write_tokens=100, completion_tokens=0)
    cost = cost_of_tokens(claude(), usage)
    assert (cost.nanos, cost.state) == (500 * 2_500 + 400 * 1_250 + 100 * 3_125, COST_STATE_SETTLED)


def test_cache_writes_without_a_rate_of_their_own_pay_as_input_and_are_said_to_be_estimated() -> None:
    usage = Usage(prompt_tokens=1_000, cached_prompt_tokens=0, cache_write_tokens=100, completion_tokens=0)
    cost = cost_of_tokens(gpt(), usage)
    assert (cost.nanos, cost.state) == (1_000 * 2_500, COST_STATE_ESTIMATED)
    usage.cache_write_tokens = 0
    assert cost_of_tokens(gpt(), usage).state == COST_STATE_SETTLED


def test_an_unknown_number_of_cache_writes_is_charged_at_the_dearer_rate_as_an_estimate() -> None:
    usage = Usage(prompt_tokens=1_000, cached_prompt_tokens=400, completion_tokens=0)
    cost = cost_of_tokens(claude(), usage)
    assert (cost.nanos, cost.state) == (600 * 3_125 + 400 * 1_250, COST_STATE_ESTIMATED)


def test_no_price_of_tokens_is_split_beyond_the_prompt_however_a_provider_counts() -> None:
    usage = Usage(
        prompt_tokens=1_000, cached_prompt_tokens=900, cache_write_tokens=5_000, completion_tokens=0
    )
    assert cost_of_tokens(claude(), usage).nanos == 100 * 3_125 + 900 * 1_250


def test_cached_tokens_of_a_long_prompt_pay_the_cached_rate_of_its_step() -> None:
    price = gpt()
    price.steps[0].cached_input_nanos_per_million = 2_000_000_000
    usage = Usage(prompt_tokens=200_000, cached_prompt_tokens=50_000, completion_tokens=0)
    assert cost_of_tokens(price, usage).nanos == 150_000 * 5_000 + 50_000 * 2_000
    usage.prompt_tokens = 100_000
    assert cost_of_tokens(price, usage).nanos == 50_000 * 2_500 + 50_000 * 1_250


def test_a_long_prompt_pays_its_step_from_the_first_token_on() -> None:
    usage = Usage(prompt_tokens=128_001, cached_prompt_tokens=0, completion_tokens=1)
    assert cost_of_tokens(gpt(), usage).nanos == 128_001 * 5_000 + 10_000
    usage.prompt_tokens = 128_000
    assert cost_of_tokens(gpt(), usage).nanos == 128_000 * 2_500 + 10_000


def test_a_batch_job_pays_its_factor_and_without_one_the_full_price_as_an_estimate() -> None:
    usage = Usage(prompt_tokens=1, cached_prompt_tokens=0, completion_tokens=1)
    assert cost_of_tokens(gpt(), usage, batch_job=True).nanos == 1_250 + 5_000
    price = gpt()
    price.ClearField("batch_factor")
    full = cost_of_tokens(price, usage, batch_job=True)
    assert (full.nanos, full.state) == (12_500, COST_STATE_ESTIMATED)


def test_half_a_nano_goes_up_once_per_component() -> None:
    price = Price(input_nanos_per_million=500_000, output_nanos_per_million=499_999)
    usage = Usage(prompt_tokens=1, completion_tokens=1)
    assert cost_of_tokens(price, usage).nanos == 1


def test_unknown_stays_unknown() -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=1)
    assert cost_of_tokens(None, usage).state == COST_STATE_UNKNOWN
    assert cost_of_tokens(gpt(), None).state == COST_STATE_UNKNOWN
    assert cost_of_tokens(gpt(), Usage(prompt_tokens=1)).state == COST_STATE_UNKNOWN
    assert cost_of_tokens(Price(input_nanos_per_million=1), usage).state == COST_STATE_UNKNOWN
    assert worst_case(Price(input_nanos_per_million=1), 1, 1) is None
    assert worst_case(gpt(), 1, None) is None
    assert worst_case(None, 1, 1) is None
