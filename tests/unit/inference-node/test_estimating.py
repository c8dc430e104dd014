"""A request is refused early only for what was seen here, and by the order in which it would be served."""

from __future__ import annotations

import pytest

from orchestra_inference_node.domain.admission import Admission, Rank
from orchestra_inference_node.domain.estimating import ServiceTimes


def test_nothing_is_known_before_anything_was_seen() -> None:
    assert ServiceTimes().until_first_token(5000, ahead=9, slots=1, free=0) == 0.0


def test_the_wait_is_for_those_ahead_and_the_prefill_for_the_prompt() -> None:
    times = ServiceTimes()
    times.first_token(prompt_tokens=100, seconds=0.5)
    times.ended(seconds=4.0)
    assert times.until_first_token(1000, ahead=0, slots=2, free=1) == pytest.approx(5.0)
    assert times.until_first_token(1000, ahead=3, slots=2, free=0) == pytest.approx(6.0 + 5.0)


def test_the_mean_follows_what_comes() -> None:
    times = ServiceTimes()
    times.ended(10.0)
    for _ in range(40):
        times.ended(1.0)
    assert times.until_first_token(1, ahead=1, slots=1, free=0) == pytest.approx(1.0, abs=0.01)


def test_short_prompts_do_not_make_long_ones_look_slow() -> None:
    times = ServiceTimes()
    times.first_token(prompt_tokens=1000, seconds=4.0)
    for _ in range(20):
        times.first_token(prompt_tokens=5, seconds=0.1)
    assert times.until_first_token(1000, ahead=0, slots=1, free=1) == pytest.approx(4.0)


def test_only_those_that_would_be_served_first_are_ahead() -> None:
    admission = Admission(slots=1, queue_limit=9)
    for rank, deadline in ((Rank.NORMAL, None), (Rank.NORMAL, None), (Rank.LOW, None), (Rank.NORMAL, 50.0)):
        admission.enter(rank, deadline)
    assert admission.ahead_of_new(Rank.HIGH, None) == 0
    assert admission.ahead_of_new(Rank.NORMAL, 5.0) == 0
    assert admission.ahead_of_new(Rank.NORMAL, None) == 2
    assert admission.ahead_of_new(Rank.LOW, None) == 3
