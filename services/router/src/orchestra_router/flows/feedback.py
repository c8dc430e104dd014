"""A trainer's judgements, on their way to the ledger."""

from __future__ import annotations

import math

from orchestra.ledger.v1 import entry_pb2
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra_errors import Violations

from ..ports import Ledger
from .caller import current_tenant

MOST = 4096


class FeedbackFlow:
    """An OK means that the ledger has recorded it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, request: pb.RecordFeedbackRequest) -> int:
        """How many were recorded. Raises InvalidRequest with every wrong field, Unavailable without the
        ledger."""
        found = Violations()
        found.require(bool(request.request_id), "request_id", "must be set")
        count = len(request.feedback)
        found.require(1 <= count <= MOST, "feedback", f"must be 1 to {MOST:,}, are {count}")
        for position, one in enumerate(request.feedback):
            at = f"feedback[{position}]"
            found.require(bool(one.sample_id), f"{at}.sample_id", "must be set")
            if one.HasField("reward"):
                found.require(math.isfinite(one.reward), f"{at}.reward", "must be a finite number")
            says = one.HasField("accepted") or one.HasField("reward") or bool(one.labels)
            found.require(says, at, "says nothing: accepted, reward or labels must be set")
        found.raise_if_any()
        return await self._ledger.record_feedback(
            request.request_id, [_entry(one) for one in request.feedback]
        )


def _entry(one: pb.SampleFeedback) -> entry_pb2.Feedback:
    entry = entry_pb2.Feedback(
        sample_id=one.sample_id, tenant=current_tenant(), run_id=one.run_id, labels=one.labels
    )
    if one.HasField("accepted"):
        entry.accepted = one.accepted
    if one.HasField("reward"):
        entry.reward = one.reward
    entry.given_at.GetCurrentTime()
    return entry
