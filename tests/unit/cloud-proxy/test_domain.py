"""Decisions: pure, total, and the same for the same values."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_cloud_proxy.domain.attempt_ids import id_of_sample, id_of_try
from orchestra_cloud_proxy.domain.breaker import Breaker, BreakerState
from orchestra_cloud_proxy.domain.bucket import Bucket, KeyLimits
from orchestra_cloud_proxy.domain.characters import Joiner
from orchestra_cloud_proxy.domain.faults import Fault, Judgement, Where, judge
from orchestra_cloud_proxy.domain.offerings import Offering, Offerings
from orchestra_cloud_proxy.domain.repeats import LONGEST_WAIT_S, wait_before_repeat
from orchestra_cloud_proxy.domain.window import Window
from orchestra_errors import NotFound, UpstreamKind


class TestFaults:
    def test_every_fault_has_a_judgement(self) -> None:
        statuses = [None, 100, 200, 204, 301, *range(400, 600)]
        codes = ["", "content_filter", "insufficient_quota", "rate_limit_exceeded", "surprise"]
        for where, status, code in itertools.product(Where, statuses, codes):
            judgement = judge(Fault(where, "x", status, code))
            assert isinstance(judgement.kind, UpstreamKind)
            if judgement.kind in (UpstreamKind.AUTH, UpstreamKind.REFUSED, UpstreamKind.FILTERED):
                assert not judgement.repeatable

    @pytest.mark.parametrize("where", [Where.NO_ANSWER, Where.TIMED_OUT, Where.CUT, Where.UNREADABLE])
    def test_what_may_have_been_charged_is_not_free(self, where: Where) -> None:
        assert not judge(Fault(where)).free

    def test_an_error_inside_a_stream_may_have_been_charged(self) -> None:
        assert not judge(Fault(Where.ANSWERED, type="server_error")).free
        assert judge(Fault(Where.ANSWERED, status=503)).free
        assert judge(Fault(Where.NOT_SENT)).free

    def test_an_empty_account_is_not_asked_again(self) -> None:
        exhausted = judge(Fault(Where.ANSWERED, status=429, code="insufficient_quota"))
        assert (exhausted.kind, exhausted.repeatable) == (UpstreamKind.RATE_LIMITED, False)
        assert judge(Fault(Where.ANSWERED, status=429)).repeatable

    def test_a_filter_and_a_limit_are_no_bad_health(self) -> None:
        assert not judge(Fault(Where.ANSWERED, status=400, code="content_filter")).blames
        assert not judge(Fault(Where.ANSWERED, status=429)).blames
        assert judge(Fault(Where.ANSWERED, status=500)).blames


REPEATABLE = Judgement(UpstreamKind.OVERLOADED, repeatable=True, free=True, blames=True)


class TestRepeats:
    @given(
        tries=st.integers(1, 40),
        allowed=st.integers(1, 40),
        after=st.none() | st.floats(0, 1e4),
        left=st.floats(0, 1e4),
        jitter=st.floats(0, 1),
    )
    def test_never_early_never_late_never_too_often(
        self, tries: int, allowed: int, after: float | None, left: float, jitter: float
    ) -> None:
        wait = wait_before_repeat(
            REPEATABLE,
            tries_made=tries,
            tries_allowed=allowed,
            retry_after=after,
            seconds_left=left,
            jitter=jitter,
        )
        if wait is None:
            return
        assert tries < allowed
        assert wait < left
        assert wait >= (after if after is not None else 0)
        assert wait <= (after if after is not None else LONGEST_WAIT_S)


class TestBreaker:
    def test_counts_failures_in_a_row(self) -> None:
        breaker = Breaker(3, 30.0).failed(0).failed(1).worked().failed(2).failed(3)
        assert breaker.state(3) is BreakerState.CLOSED
        breaker = breaker.failed(4)
        assert breaker.state(4) is BreakerState.OPEN
        assert breaker.wait(10) == 24

    def test_lets_one_probe_through(self) -> None:
        breaker = Breaker(1, 30.0).failed(0)
        assert breaker.state(30) is BreakerState.HALF_OPEN
        assert breaker.wait(30) is None
        probing = breaker.began(30)
        assert probing.wait(31) == 29
        assert probing.worked().state(31) is BreakerState.CLOSED
        assert probing.failed(31).wait(31) == 30
        assert probing.ended().wait(31) is None, "a probe that was cancelled may be made again"
        assert probing.wait(60) is None, "a probe that never ends does not block for ever"

    def test_a_straggler_does_not_prolong_the_pause(self) -> None:
        assert Breaker(1, 30.0).failed(0).failed(20).state(30) is BreakerState.HALF_OPEN


class TestBucket:
    @given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=60), st.integers(1, 600))
    def test_no_minute_gets_more_than_one_fill_beside_the_first(
        self, asked: list[tuple[float, int]], capacity: int
    ) -> None:
        """Waiting as told, the amount taken by any time is bounded by capacity × (1 + minutes)."""
        bucket, now, taken = Bucket.full(capacity, 0.0), 0.0, 0.0
        for pause, amount in asked:
            now += pause
            now += bucket.wait(amount, now) + 1e-9
            amount = min(amount, capacity)
            bucket = bucket.less(amount, now)
            taken += amount
            assert taken <= capacity * (1 + now / 60) + 1e-3

    def test_an_estimate_that_was_too_low_is_paid_back(self) -> None:
        limits = KeyLimits.of(None, 60, 0.0).taken(10, 0.0).corrected(100, 0.0)
        assert limits.wait(1, 0.0) == pytest.approx(51)

    def test_more_than_the_capacity_waits_for_the_whole_bucket(self) -> None:
        assert Bucket.full(10, 0.0).wait(1000, 0.0) == 0
        assert Bucket.full(10, 0.0).less(10, 0.0).wait(1000, 0.0) == 60

    def test_a_pause_of_the_provider_counts(self) -> None:
        assert KeyLimits().paused(5.0).paused(3.0).wait(1, 1.0) == 4


class TestWindow:
    def test_shrinks_by_a_quarter_and_grows_carefully_above_what_was_too_much(self) -> None:
        window = Window.open(64).limited()
        assert window.places == 48
        for _ in range(47):
            window = window.worked()
        assert window.places == 48
        assert window.worked().worked().places == 49
        for _ in range(100):
            window = window.limited()
        assert window.places == 1


@given(st.text(), st.data())
def test_characters_survive_any_cut(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    halves = [units[i : i + 2].decode("utf-16-le", "surrogatepass") for i in range(0, len(units), 2)]
    joiner, said = Joiner(), []
    while halves:
        size = data.draw(st.integers(1, len(halves)))
        said.append(joiner.take("".join(halves[:size])))
        said[-1].encode()
        halves = halves[size:]
    assert "".join(said) + joiner.rest() == text


def test_lone_halves_become_a_mark() -> None:
    joiner = Joiner()
    assert joiner.take("a\ud83d") == "a"
    assert joiner.take("b") == "\ufffdb"
    assert joiner.take("\ude00") == "\ufffd"


def test_attempt_ids_of_several_samples_and_tries() -> None:
    assert id_of_sample("a/b/3/2-ff", 0) == "a/b/3/2-ff"
    assert id_of_sample("a/b/3/2-ff", 4) == "a/b/7/2-ff"
    assert id_of_sample("odd", 4) == "odd+4"
    assert id_of_try("a/0/1", 2) == "a/0/1~2"


def test_offerings_by_model_alias_and_provider() -> None:
    first = Offering("gpt-4o", "openai", "openai", "gpt-4o-x", "premium", aliases=("gpt4",))
    second = Offering("gpt-4o", "azure", "openai", "gpt-4o-y", "premium")
    offerings = Offerings([first, second])
    assert offerings.find("gpt-4o") is offerings.find("gpt4") is first
    assert offerings.find("azure/gpt-4o") is second
    with pytest.raises(NotFound) as caught:
        offerings.find("gpt-4")
    assert "gpt-4o" in caught.value.metadata["nearest"]
