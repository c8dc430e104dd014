"""Why fewer draws came than were asked for."""

from __future__ import annotations

from enum import Enum

from orchestra_cache.domain.draws import Found, ReplayState, Seen, Serving, Wish


class Miss(Enum):
    NEVER_STORED = "never_stored"
    SERVED_TO_ROLLOUT = "served_to_rollout"
    TOO_FEW = "too_few"
    TOO_OLD = "too_old"
    TOO_FEW_DISTINCT = "too_few_distinct"
    NO_REVISION = "no_revision"
    POLICY = "policy"
    DAMAGED = "damaged"


def why_short(wish: Wish, found: Found) -> Miss | None:
    """The reason that the asker can do most about; None when nothing is missing or the request is no miss of
    the set (it was replayed, or it is being answered now)."""
    if found.replay is not ReplayState.NEW or len(found.draws) >= wish.n:
        return None
    if not wish.topic.has_revision:
        return Miss.NO_REVISION
    if wish.policy.serving is not Serving.SERVE or not wish.topic.whole_answer:
        return Miss.POLICY
    return _of_set(wish, found.seen)


def _of_set(wish: Wish, seen: Seen) -> Miss:
    if seen.damaged:
        return Miss.DAMAGED
    if seen.total == 0:
        return Miss.NEVER_STORED
    if seen.distinct < wish.policy.min_distinct:
        return Miss.TOO_FEW_DISTINCT
    if seen.eligible < wish.n:
        return Miss.TOO_OLD if seen.total >= wish.n else Miss.TOO_FEW
    if seen.repeats_skipped:
        return Miss.TOO_FEW_DISTINCT
    return Miss.SERVED_TO_ROLLOUT
