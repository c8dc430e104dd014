"""Rotation is fair, repeatable, and never gives a model two turns in a row."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestra_model_manager.domain.phases import (
    PhasePlan,
    RotatingGroup,
    RotationState,
    coming_in,
    due_at,
    models_at,
    turn,
)

pools = st.lists(st.sampled_from([f"m{i}" for i in range(9)]), min_size=1, max_size=9, unique=True).map(tuple)


@given(pools, st.integers(0, 1000), st.integers(0, 50))
def test_every_member_has_one_turn_in_each_round(pool, seed, rounds):
    group = RotatingGroup("models", (), pool)
    start = rounds * len(pool)
    turns = Counter(turn(group, start + index, seed) for index in range(len(pool)))
    assert turns == Counter(pool)


@given(pools.filter(lambda pool: len(pool) > 1), st.integers(0, 1000))
def test_no_member_comes_twice_in_a_row(pool, seed):
    group = RotatingGroup("models", (), pool)
    turns = [turn(group, position, seed) for position in range(5 * len(pool))]
    assert all(one != other for one, other in itertools.pairwise(turns))


def test_a_phase_wants_what_is_always_there_and_one_of_each_pool():
    plan = PhasePlan(
        "three",
        "",
        (
            RotatingGroup("code_generators", ("base",), ("x", "y")),
            RotatingGroup("testing_evaluators", ("judge",), ("z",)),
        ),
        4 * 3600.0,
    )
    assert models_at(plan, 0, 7) == ("base", "judge", "x", "z")
    assert coming_in(plan, 0, 7) == ("y",)
    assert plan.evaluators == ("judge", "z")
    assert due_at(plan, RotationState("three", 0, 7, 1_000.0)) == 1_000.0 + 4 * 3600.0


def test_without_a_pool_nothing_is_ever_due():
    plan = PhasePlan("fixed", "", (RotatingGroup("models", ("a",), ()),), None)
    assert due_at(plan, RotationState("fixed", 0, 0, 0.0)) is None
    assert coming_in(plan, 0, 0) == ()
