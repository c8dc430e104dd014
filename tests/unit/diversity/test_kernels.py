"""Similarity matrices and the effective number, as properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from orchestra_diversity import effective_number, mean_distance
from orchestra_diversity.kernels import cosine, semantic_kernel

features = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0.01, 50.0), max_size=12)
feature_sets = st.lists(features, min_size=1, max_size=9)
vectors = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 8), st.just(5)), elements=st.floats(-3.0, 3.0)
).filter(lambda rows: bool((np.linalg.norm(rows, axis=1) > 1e-3).all()))


@given(feature_sets)
@settings(deadline=None, max_examples=50)
def test_a_cosine_kernel_is_a_similarity_matrix(sets: list[dict[str, float]]) -> None:
    similarity = cosine(sets)
    assert similarity.shape == (len(sets), len(sets))
    assert (similarity == similarity.T).all()
    assert (np.diag(similarity) == 1.0).all()
    assert (similarity >= 0.0).all() and (similarity <= 1.0).all()
    assert np.linalg.eigvalsh(similarity)[0] > -1e-9


@given(feature_sets)
@settings(deadline=None, max_examples=50)
def test_a_cosine_kernel_agrees_with_the_definition(sets: list[dict[str, float]]) -> None:
    similarity = cosine(sets)
    for i, one in enumerate(sets):
        for j, other in enumerate(sets):
            dot = sum(value * other.get(feature, 0.0) for feature, value in one.items())
            lengths = math.hypot(*one.values()) * math.hypot(*other.values())
            expected = dot / lengths if lengths else float(one == other)
            assert similarity[i, j] == pytest.approx(expected, abs=1e-9)


@given(vectors)
@settings(deadline=None, max_examples=50)
def test_a_semantic_kernel_is_positive_semidefinite_whatever_the_embeddings(rows: np.ndarray) -> None:
    similarity = semantic_kernel(rows, len(rows))
    assert np.linalg.eigvalsh(similarity)[0] > -1e-9
    assert (np.diag(similarity) == 1.0).all()
    assert (similarity >= 0.0).all()


@given(feature_sets, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_the_effective_number_lies_between_one_and_n_and_ignores_the_order(sets, random) -> None:
    score = effective_number(cosine(sets))
    assert 1.0 <= score <= len(sets)
    shuffled = random.sample(sets, len(sets))
    assert effective_number(cosine(shuffled)) == pytest.approx(score, abs=1e-9)


@given(st.integers(1, 40))
@settings(deadline=None, max_examples=50)
def test_copies_count_once_and_strangers_each(n: int) -> None:
    assert effective_number(np.ones((n, n))) == pytest.approx(1.0, abs=1e-9)
    assert effective_number(np.eye(n)) == pytest.approx(n, abs=1e-9)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_groups_of_copies_count_by_the_entropy_of_their_sizes(sizes: list[int]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    similarity = (labels[:, None] == labels[None, :]).astype(float)
    shares = np.array(sizes) / sum(sizes)
    expected = math.exp(-float((shares * np.log(shares)).sum()))
    assert effective_number(similarity) == pytest.approx(expected, rel=1e-9)


@given(st.integers(2, 30), st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=50)
def test_equal_overlap_has_the_closed_form(n: int, overlap: float) -> None:
    """K = (1 - s) I + s 1 has one eigenvalue 1 + (n - 1) s and n - 1 of 1 - s."""
    similarity = np.full((n, n), overlap) + (1.0 - overlap) * np.eye(n)
    first, rest = (1.0 + (n - 1) * overlap) / n, (1.0 - overlap) / n
    entropy = -first * math.log(first) - (n - 1) * (rest * math.log(rest) if rest > 0.0 else 0.0)
    assert effective_number(similarity) == pytest.approx(math.exp(entropy), rel=1e-6)
    assert mean_distance(similarity) == pytest.approx(1.0 - overlap, abs=1e-9)


def test_one_sample_has_no_pair_to_be_distant() -> None:
    assert effective_number([[1.0]]) == 1.0
    assert mean_distance([[1.0]]) is None


@pytest.mark.parametrize(
    "matrix",
    [[], [[1.0, 0.5]], [[1.0, 0.2], [0.4, 1.0]], [[0.5, 0.2], [0.2, 0.5]], [[1.0, np.nan], [np.nan, 1.0]]],
)
def test_what_is_no_similarity_matrix_is_refused(matrix: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="similarity matrix"):
        effective_number(matrix)


@pytest.mark.parametrize(
    "rows", [[[1.0, 2.0]], [[0.0, 0.0], [1.0, 0.0]], [[np.inf, 0.0], [1.0, 0.0]], [[], []]]
)
def test_embeddings_that_do_not_fit_are_refused(rows: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="embedding"):
        semantic_kernel(rows, 2)
