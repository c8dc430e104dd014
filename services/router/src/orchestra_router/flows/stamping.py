"""What the router writes into the provenance of events that pass it."""

from __future__ import annotations

from orchestra.generation.v1 import event_pb2, provenance_pb2, routing_pb2
from orchestra_errors import OrchestraError
from orchestra_rpc import pack_status

from ..domain.targets import Target
from .item import Item

TIERS: dict[str, routing_pb2.Tier.ValueType] = {
    "local": routing_pb2.TIER_LOCAL,
    "selective": routing_pb2.TIER_SELECTIVE,
    "premium": routing_pb2.TIER_PREMIUM,
}


def stamp_drawn(provenance: provenance_pb2.Provenance, item: Item, target: Target, attempt_id: str) -> None:
    """A sample drawn for this item: worker or proxy said what it knows, the router adds why it was asked."""
    _stamp(provenance, item, attempt_id)
    provenance.model = target.model
    provenance.provider = provenance.provider or target.provider
    if not provenance.tier:
        provenance.tier = TIERS.get(target.tier, routing_pb2.TIER_UNSPECIFIED)
    provenance.cache.Clear()
    provenance.cache.outcome = item.outcome
    del provenance.hops[:]
    provenance.hops.extend(item.hops)
    if item.policy.distinct:
        provenance.distribution_options[:] = ["distinct"]


def stamp_stored(
    provenance: provenance_pb2.Provenance, item: Item, attempt_id: str, cache: provenance_pb2.CacheState
) -> None:
    """A stored draw: where it comes from stays as it was; for whom and how it is served is this item's."""
    _stamp(provenance, item, attempt_id)
    provenance.cache.CopyFrom(cache)
    del provenance.hops[:]
    if item.policy.distinct:
        provenance.distribution_options[:] = ["distinct"]


def _stamp(provenance: provenance_pb2.Provenance, item: Item, attempt_id: str) -> None:
    provenance.request_id = item.request_id
    provenance.attempt_id = attempt_id
    provenance.phase = item.job.phase
    provenance.run_id = item.generation.run_id
    provenance.trace_id = item.trace_id
    named = item.generation.routing.model
    provenance.substituted_for = named if item.job.model and provenance.model != item.job.model else ""
    if item.replay_guaranteed is not None:
        provenance.replay_guaranteed = item.replay_guaranteed


def hop(target: Target, attempt_id: str, error: OrchestraError) -> provenance_pb2.Hop:
    """A target that was tried and given up."""
    return provenance_pb2.Hop(
        model=target.model,
        provider=target.provider,
        node_id=target.node_id,
        attempt_id=attempt_id,
        reason=error.reason,
        message=error.message[:300],
    )


def failed_event(
    index: int,
    error: OrchestraError,
    provenance: provenance_pb2.Provenance | None = None,
    consumed: event_pb2.SampleFailed | None = None,
) -> event_pb2.GenerationEvent:
    """SampleFailed for an index: the error's status, what is known to have been consumed, and where it came
    from."""
    event = event_pb2.GenerationEvent(sample_index=index)
    failed = event.sample_failed
    failed.status.CopyFrom(pack_status(error))
    if consumed is not None and consumed.HasField("usage"):
        failed.usage.CopyFrom(consumed.usage)
        failed.cost.CopyFrom(consumed.cost)
    if provenance is not None:
        failed.provenance.CopyFrom(provenance)
    return event


def waiting_event(index: int) -> event_pb2.GenerationEvent:
    """A heartbeat: the sample waits for a place at a target."""
    event = event_pb2.GenerationEvent(sample_index=index)
    event.heartbeat.activity = event_pb2.ACTIVITY_QUEUED
    return event
