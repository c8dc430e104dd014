"""Shares, ranges, sizes and remembered cancellations."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestra_router.domain.cancelled_runs import Cancellation, CancelledRuns
from orchestra_router.domain.job import PromptSize
from orchestra_router.domain.ranges import runs
from orchestra_router.domain.shares import planned, spread


@given(st.lists(st.text(min_size=1), min_size=1, max_size=9, unique=True), st.integers(1, 64))
def test_a_spread_gives_each_index_once_and_no_model_two_more_than_another(models: list[str], n: int) -> None:
    shares = spread(models, n)
    indexes = [index for share in shares for index in range(share.first, share.first + share.samples)]
    assert indexes == list(range(n))
    sizes = {model: 0 for model in models} | {share.model: share.samples for share in shares}
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_a_plan_keeps_its_order_and_leaves_out_nothings() -> None:
    assert [(one.model, one.first, one.samples) for one in planned({"a": 2, "b": 0, "c": 1})] == [
        ("a", 0, 2),
        ("c", 2, 1),
    ]


@given(st.sets(st.integers(0, 50)), st.none() | st.integers(1, 5))
def test_ranges_hold_each_index_once(indexes: set[int], longest: int | None) -> None:
    found = runs(indexes, longest)
    assert [index for one in found for index in one] == sorted(indexes)
    assert all(len(one) <= longest for one in found) if longest else True
    if longest is None:
        assert all(one.stop < other.start for one, other in pairwise(found))


def test_the_lower_bound_of_a_prompt_is_below_the_estimate() -> None:
    size = PromptSize(text_bytes=801, tokens=3)
    assert (size.least_tokens, size.likely_tokens) == (103, 204)


def test_cancellations_are_bounded_and_the_first_word_counts() -> None:
    known = CancelledRuns(limit=2)
    first = known.add(Cancellation("r1", "t", "enough", 1.0))
    assert known.add(Cancellation("r1", "t", "again", 2.0)) is first
    known.add(Cancellation("r2", "t", "", 3.0))
    known.add(Cancellation("r3", "t", "", 4.0))
    assert known.get("t", "r1") is None
    assert known.get("t", "r3") is not None
    assert known.get("other", "r3") is None
