"""Defaults are the contract's neutral values; samples never share a seed."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from orchestra.generation.v1.request_pb2 import GenerationRequest
from orchestra.generation.v1.sampling_pb2 import Sampling
from orchestra_requests import (
    SEED_LIMIT,
    derive_seed,
    is_deterministic,
    is_neutral,
    random_seed,
    sampling_defaults,
    seed_in_range,
    seed_of_sample,
)


def test_absent_settings_become_neutral_and_given_ones_stay() -> None:
    full = sampling_defaults(Sampling(top_k=40, min_p=0))
    assert (full.temperature, full.top_p, full.top_k, full.min_p) == (1.0, 1.0, 40, 0.0)
    assert (full.repetition_penalty, full.presence_penalty, full.frequency_penalty, full.n) == (1.0, 0, 0, 1)
    assert all(full.HasField(name) for name in ("temperature", "top_p", "min_p", "n"))
    assert not full.HasField("seed") and not full.HasField("max_tokens")


def test_the_given_message_is_left_as_it_was() -> None:
    given_one = Sampling()
    sampling_defaults(given_one)
    assert given_one == Sampling()


def test_greedy_and_seeded_requests_are_deterministic() -> None:
    assert not is_deterministic(GenerationRequest(text="x"))
    assert is_deterministic(GenerationRequest(text="x", sampling=Sampling(temperature=0)))
    assert is_deterministic(GenerationRequest(text="x", sampling=Sampling(seed=0)))
    assert not is_deterministic(GenerationRequest(text="x", sampling=Sampling(temperature=0.5)))


def test_neutral_is_absent_or_without_effect() -> None:
    assert is_neutral(Sampling(), "min_p") and is_neutral(Sampling(min_p=0), "min_p")
    assert not is_neutral(Sampling(min_p=0.1), "min_p")
    assert is_neutral(Sampling(temperature=1), "temperature")
    assert not is_neutral(Sampling(temperature=0), "temperature")
    assert is_neutral(Sampling(), "stop_token_ids") and not is_neutral(
        Sampling(stop_token_ids=[0]), "stop_token_ids"
    )
    assert not is_neutral(Sampling(seed=0), "seed"), "a seed has no neutral value"
    assert not is_neutral(Sampling(grammar='root ::= "a"'), "grammar")


@given(st.integers(0, 2**64 - 1))
def test_a_seed_as_used_draws_as_itself(seed: int) -> None:
    used = seed_in_range(seed)
    assert 0 <= used < SEED_LIMIT
    assert seed_in_range(used) == used


@given(st.integers(0, 2**64 - 1))
@example(99_366_127)
def test_every_sample_of_a_seed_has_its_own(seed: int) -> None:
    seeds = [derive_seed(seed, index) for index in range(4096)]
    assert len({*seeds, seed}) == 4097
    assert all(0 <= derived < SEED_LIMIT for derived in seeds)


def test_seeds_that_lie_in_their_own_range_are_moved_out_of_it() -> None:
    # seed * 4096 + offset + index = seed modulo 2^31 has one solution for each index
    inverse = pow(4095, -1, SEED_LIMIT)
    for index in (0, 1, 4095):
        seed = (-(derive_seed(0, 0) + index) * inverse) % SEED_LIMIT
        assert seed not in {derive_seed(seed, i) for i in range(4096)}


def test_one_sample_alone_draws_with_the_seed_as_given() -> None:
    assert seed_of_sample(7, 0, n=1) == 7
    assert seed_of_sample(7, 3, n=1) == seed_of_sample(7, 3, n=8) == derive_seed(7, 3)


def test_neighbouring_seeds_do_not_share_samples() -> None:
    drawn = [derive_seed(seed, index) for seed in range(32) for index in range(4096)]
    assert len(set(drawn)) == len(drawn)


def test_random_seeds_fit_every_engine() -> None:
    assert all(0 <= random_seed() < SEED_LIMIT for _ in range(100))
