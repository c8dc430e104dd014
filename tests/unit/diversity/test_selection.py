"""Choosing m of n, finding duplicates, crediting models."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestra_diversity import (
    effective_number,
    equal_groups,
    marginal_contributions,
    near_duplicates,
    select_diverse,
)
from orchestra_diversity.kernels import cosine

METHODS = ("maxmin", "dpp")
feature_sets = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 5.0)), min_size=1, max_size=9
)
TWO_PAIRS = [[1.0, 1.0, 0.1, 0.1], [1.0, 1.0, 0.1, 0.1], [0.1, 0.1, 1.0, 1.0], [0.1, 0.1, 1.0, 1.0]]


@pytest.mark.parametrize("method", METHODS)
@given(sets=feature_sets, m=st.integers(1, 12))
@settings(deadline=None, max_examples=50)
def test_a_selection_holds_m_different_samples(method, sets, m) -> None:
    chosen = select_diverse(cosine(sets), m, method=method)
    assert len(chosen) == len(set(chosen)) == min(m, len(sets))
    assert set(chosen) <= set(range(len(sets)))


@pytest.mark.parametrize("method", METHODS)
def test_one_of_each_pair_of_copies_is_chosen(method) -> None:
    chosen = select_diverse(TWO_PAIRS, 2, method=method)
    assert {index // 2 for index in chosen} == {0, 1}


@pytest.mark.parametrize("method", METHODS)
def test_among_copies_the_better_one_is_chosen(method) -> None:
    assert set(select_diverse(TWO_PAIRS, 2, quality=[1.0, 3.0, 2.0, 1.0], method=method)) == {1, 2}


@pytest.mark.parametrize("method", METHODS)
def test_when_only_copies_are_left_the_best_of_them_fill_up(method) -> None:
    ones = np.ones((4, 4))
    assert select_diverse(ones, 3, quality=[1.0, 4.0, 2.0, 3.0], method=method) == (1, 3, 2)


@pytest.mark.parametrize("method", METHODS)
def test_a_selection_is_nearly_as_distinct_as_the_best_one(method) -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        sets = [
            {str(k): float(v) for k, v in enumerate(rng.random(6) * (rng.random(6) < 0.5))} for _ in range(8)
        ]
        similarity = cosine(sets)

        def score(chosen: tuple[int, ...], similarity: np.ndarray = similarity) -> float:
            return effective_number(similarity[np.ix_(chosen, chosen)])

        best = max(score(subset) for subset in itertools.combinations(range(8), 3))
        assert score(select_diverse(similarity, 3, method=method)) >= 0.85 * best


@pytest.mark.parametrize(
    ("m", "quality"), [(0, None), (1, [1.0]), (1, [1.0, 0.0, 1.0, 1.0]), (1, [float("nan")] * 4)]
)
def test_a_senseless_wish_is_refused(m, quality) -> None:
    with pytest.raises(ValueError, match=r"quality|at least one"):
        select_diverse(TWO_PAIRS, m, quality)


def test_near_duplicates_partition_the_set() -> None:
    assert near_duplicates(TWO_PAIRS) == ((0, 1), (2, 3))
    assert near_duplicates(TWO_PAIRS, threshold=0.05) == ((0, 1, 2, 3),)
    assert near_duplicates(np.eye(3).tolist()) == ((0,), (1,), (2,))


def test_near_duplicates_chain() -> None:
    chain = [[1.0, 0.98, 0.9], [0.98, 1.0, 0.98], [0.9, 0.98, 1.0]]
    assert near_duplicates(chain, threshold=0.97) == ((0, 1, 2),)


def test_equal_values_form_groups_in_order_of_first_appearance() -> None:
    assert equal_groups(["b", "a", "b", "c", "a"]) == ((0, 2), (1, 4), (3,))


def test_a_model_that_only_repeats_adds_nothing_and_a_new_voice_adds_one() -> None:
    similarity = np.eye(3)
    similarity[0, 1] = similarity[1, 0] = 1.0
    first, echo, other = marginal_contributions(similarity, ["first", "echo", "other"])
    assert (first.model, echo.model, other.model) == ("first", "echo", "other")
    assert first.marginal < 0.0 and echo.marginal < 0.0
    assert other.marginal == pytest.approx(effective_number(similarity) - 1.0)


def test_the_only_model_is_credited_with_everything() -> None:
    (only,) = marginal_contributions(np.eye(4), ["m"] * 4)
    assert (only.samples, only.effective_number, only.marginal) == (4, pytest.approx(4.0), pytest.approx(4.0))
