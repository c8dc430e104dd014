"""Stored samples: which may be kept, and their way in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.generation.v1 import event_pb2, usage_pb2
from orchestra_cache.domain.draws import Draw, StoredDraw
from orchestra_errors import Violations

_WHOLE = frozenset(
    {
        event_pb2.FINISH_REASON_STOP,
        event_pb2.FINISH_REASON_STOP_SEQUENCE,
        # the caller's own bound is part of the key, so an answer that it ended is whole for its key
        event_pb2.FINISH_REASON_MAX_TOKENS,
        event_pb2.FINISH_REASON_TOOL_CALLS,
        # the model's own word: leaving refusals out would bend the distribution that the set stands for
        event_pb2.FINISH_REASON_REFUSAL,
    }
)


def read_samples(samples: Sequence[pb.StoredSample], field: str, v: Violations) -> list[Draw]:
    """The draws, with every violation of them noted under `field`."""
    draws = []
    for i, sample in enumerate(samples):
        if _check(sample, f"{field}[{i}]", v):
            draws.append(_draw(sample))
    return draws


def _check(sample: pb.StoredSample, at: str, v: Violations) -> bool:
    named = v.require(bool(sample.sample_id), f"{at}.sample_id", "must be set")
    kinds = [event.WhichOneof("event") for event in sample.events]
    if not kinds or kinds[0] != "started":
        v.add(f"{at}.events", "must begin with started")
        return False
    if "sample_failed" in kinds:
        v.add(f"{at}.events", "a failed sample is not stored")
        return False
    if kinds[-1] != "finished" or kinds.count("finished") != 1 or kinds.count("started") != 1:
        v.add(
            f"{at}.events",
            "must end with its one finished, after its one started: only whole draws are stored",
        )
        return False
    if None in kinds:
        v.add(f"{at}.events[{kinds.index(None)}]", "is empty")
        return False
    if any(event.sample_index for event in sample.events):
        v.add(f"{at}.events", "must have sample_index 0")
        return False
    reason = sample.events[-1].finished.reason
    name = event_pb2.FinishReason.Name(reason) if reason in event_pb2.FinishReason.values() else str(reason)
    whole = v.require(reason in _WHOLE, f"{at}.events", f"an answer that ended with {name} is not stored")
    return named and whole


def _draw(sample: pb.StoredSample) -> Draw:
    answer = hashlib.sha256()
    for event in sample.events:
        if event.HasField("text_delta"):
            answer.update(event.text_delta.text.encode())
        elif event.HasField("tool_call_delta"):
            call = event.tool_call_delta
            answer.update(f"\0{call.call_index}\0{call.name}\0{call.arguments_json}".encode())
    kept = pb.StoredSample(
        sample_id=sample.sample_id, events=[e for e in sample.events if not e.HasField("heartbeat")]
    )
    return Draw(
        sample_id=sample.sample_id,
        text_digest=answer.digest()[:8],
        cost_nanos=_cost(sample.events[-1].finished.cost),
        payload=kept.SerializeToString(),
    )


def _cost(cost: usage_pb2.Cost) -> int | None:
    """What the draw costs to make again."""
    if cost.HasField("saved_nanos"):
        return max(cost.saved_nanos, 0)
    return max(cost.nanos, 0) if cost.HasField("nanos") else None


def write_sample(draw: StoredDraw) -> pb.StoredSample:
    sample = pb.StoredSample.FromString(draw.payload)
    sample.stored_at.FromMilliseconds(draw.stored_at_ms)
    sample.position = draw.position
    sample.total = draw.total
    return sample
