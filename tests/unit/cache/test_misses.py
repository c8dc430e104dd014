"""The reason that is given for a miss is the one that the asker can do something about."""

from __future__ import annotations

import pytest

from orchestra_cache.domain.counters import Counters
from orchestra_cache.domain.draws import (
    Found,
    Policy,
    ReplayState,
    Seen,
    Serving,
    StoredDraw,
    Topic,
    Wish,
)
from orchestra_cache.domain.misses import Miss, why_short

DRAW = StoredDraw(b"", 0, 1, 1, 5)


def topic(*, has_revision: bool = True, whole_answer: bool = True) -> Topic:
    return Topic("k", "t", "m", has_revision=has_revision, deterministic=False, whole_answer=whole_answer)


@pytest.mark.parametrize(
    ("n", "policy", "seen", "served", "reason"),
    [
        (1, Policy(), Seen(), 0, Miss.NEVER_STORED),
        (2, Policy(), Seen(total=1, eligible=1, distinct=1), 1, Miss.TOO_FEW),
        (2, Policy(max_age_ms=1), Seen(total=2, eligible=1, distinct=1), 1, Miss.TOO_OLD),
        (1, Policy(), Seen(total=2, eligible=2, distinct=2, served_before=2), 0, Miss.SERVED_TO_ROLLOUT),
        (1, Policy(min_distinct=2), Seen(total=9, eligible=9, distinct=1), 0, Miss.TOO_FEW_DISTINCT),
        (
            2,
            Policy(distinct=True),
            Seen(total=2, eligible=2, distinct=1, repeats_skipped=1),
            1,
            Miss.TOO_FEW_DISTINCT,
        ),
        (1, Policy(), Seen(total=1, eligible=1, distinct=1, damaged=1), 0, Miss.DAMAGED),
        (1, Policy(serving=Serving.NOTHING), Seen(), 0, Miss.POLICY),
        (1, Policy(serving=Serving.FORGET), Seen(), 0, Miss.POLICY),
        (1, Policy(), Seen(total=1, eligible=1, distinct=1), 1, None),
    ],
)
def test_reason(n: int, policy: Policy, seen: Seen, served: int, reason: Miss | None) -> None:
    assert why_short(Wish(topic(), n, policy), Found([DRAW] * served, seen, ReplayState.NEW)) is reason


def test_without_a_revision_nothing_else_matters() -> None:
    found = Found((), Seen(), ReplayState.NEW)
    assert why_short(Wish(topic(has_revision=False), 1, Policy()), found) is Miss.NO_REVISION


def test_a_running_or_replayed_request_is_no_miss() -> None:
    for state in (ReplayState.RUNNING, ReplayState.REPLAYED):
        assert why_short(Wish(topic(), 1, Policy()), Found((), Seen(), state)) is None


def test_counters_tell_known_savings_from_unknown_ones() -> None:
    counters, wish = Counters(), Wish(topic(), 3, Policy())
    draws = [DRAW, StoredDraw(b"", 0, 2, 2, None)]
    counters.looked_up(wish, Found(draws, Seen(), ReplayState.NEW), Miss.TOO_FEW)
    counters.looked_up(wish, Found(draws, Seen(), ReplayState.REPLAYED), None)
    assert (counters.lookups, counters.draws_wanted, counters.draws_served, counters.replays) == (2, 3, 2, 1)
    assert (counters.saved_nanos, counters.served_without_cost) == (5, 1)
