"""Stored draws as events of an item."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra.generation.v1 import event_pb2, provenance_pb2, request_pb2, usage_pb2
from orchestra_errors import OrchestraError, Unavailable

from ..domain.targets import Target
from ..ports import Event, Lookup, Take
from .bookkeeping import Books
from .intake import payload_digest
from .item import Item
from .keeping import Keeping, subject
from .stamping import stamp_stored

RETRY_RUNNING_S = 1.0


async def look_up(item: Item, target: Target, lookup: Lookup) -> cache_pb.LookupResponse | None:
    """What the cache has for the item; None when it is not asked or does not answer.

    Sets how drawn samples are marked. Raises AlreadyExists when the request id had another payload, and
    Unavailable while the first answer to it still runs.
    """
    bypassed = item.policy.mode == request_pb2.CACHE_MODE_BYPASS
    if bypassed:
        item.outcome = provenance_pb2.CACHE_OUTCOME_BYPASSED
    if not item.replayable and not item.serves_stored:
        return None
    request = cache_pb.LookupRequest(
        subject=subject(item, target),
        n=item.n,
        rollout_id=item.generation.rollout_id,
    )
    if item.replayable:
        item.digest = item.digest or payload_digest(item.generation)
        request.request_id, request.payload_digest = item.request_id, item.digest
    if not item.serves_stored and not bypassed:
        # only the replay record is wanted: a policy under which the store serves nothing
        request.subject.generation.cache.mode = request_pb2.CACHE_MODE_BYPASS
    try:
        found = await lookup(request)
    except OrchestraError as error:
        if error.reason not in (
            "UNAVAILABLE",
            "DRAINING",
            "DEADLINE_EXCEEDED",
            "INTERNAL",
            "PEER_FAILED",
            "NOT_YET",
        ):
            raise
        if not bypassed:
            item.outcome = provenance_pb2.CACHE_OUTCOME_UNAVAILABLE
        item.replay_guaranteed = False if item.replayable else None
        return None
    if item.replayable:
        item.replay_guaranteed = True
        item.owns_replay = found.replay == cache_pb.REPLAY_STATE_NEW
    if found.replay == cache_pb.REPLAY_STATE_RUNNING:
        raise Unavailable(
            f"the answer to request {item.request_id!r} (its first call still runs)", RETRY_RUNNING_S
        )
    return found


def serve_stored(
    item: Item, found: cache_pb.LookupResponse, *, emit: Take, keeping: Keeping, books: Books
) -> int:
    """Send the stored draws as the item's first samples, and give how many they were."""
    replayed = found.replay == cache_pb.REPLAY_STATE_REPLAYED
    served = 0
    for sample in found.samples[: item.n]:
        if not sample.events or not sample.events[-1].HasField("finished"):
            continue
        index = item.first + served
        cache = provenance_pb2.CacheState(
            outcome=provenance_pb2.CACHE_OUTCOME_REPLAYED
            if replayed
            else provenance_pb2.CACHE_OUTCOME_STORED,
            stored_position=sample.position,
            stored_total=sample.total,
        )
        attempt_id = item.attempt_id(index, "replayed" if replayed else "stored")
        for event in _prepared(item, sample.events, index, attempt_id, cache):
            keeping.event(event)
            emit(event)
        keeping.stored(index)
        books.stored(item, index, attempt_id, sample.events[-1].finished)
        served += 1
    return served


def _prepared(
    item: Item, events: Sequence[Event], index: int, attempt_id: str, cache: provenance_pb2.CacheState
) -> Sequence[Event]:
    for event in events:
        event.sample_index = index
        if event.HasField("started"):
            stamp_stored(event.started.provenance, item, attempt_id, cache)
        elif event.HasField("finished"):
            stamp_stored(event.finished.provenance, item, attempt_id, cache)
            event.finished.cost.CopyFrom(saved(event.finished))
    return events


def saved(done: event_pb2.Finished) -> usage_pb2.Cost:
    """A stored draw costs nothing; what it would have cost again is named where it is known."""
    cost = usage_pb2.Cost(state=usage_pb2.COST_STATE_SETTLED, nanos=0, price_version=done.cost.price_version)
    if done.cost.HasField("saved_nanos"):
        cost.saved_nanos = done.cost.saved_nanos
    elif done.cost.HasField("nanos"):
        cost.saved_nanos = done.cost.nanos
    return cost
