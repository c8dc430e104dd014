"""Usage entries: one for each attempt at a sample that consumed something, and for each sample's end."""

from __future__ import annotations

from orchestra.generation.v1 import event_pb2, provenance_pb2, routing_pb2, usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import OrchestraError
from orchestra_telemetry import call_trace_id

from ..domain.targets import Target
from ..ports import Usage
from .caller import current_tenant
from .item import Item
from .stamping import TIERS

_STATES = {
    usage_pb2.COST_STATE_SETTLED: entry_pb2.ENTRY_STATE_SETTLED,
    usage_pb2.COST_STATE_ESTIMATED: entry_pb2.ENTRY_STATE_ESTIMATED,
}


class Books:
    """Local attempts and stored draws are recorded here; a cloud attempt is the proxy's to record."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def finished(
        self, item: Item, target: Target, index: int, attempt_id: str, done: event_pb2.Finished
    ) -> None:
        if not target.local:
            return
        entry = self._entry(item, target, index, attempt_id, done.provenance)
        entry.usage.CopyFrom(done.usage)
        entry.timings.CopyFrom(done.timings)
        entry.cost.CopyFrom(done.cost)
        entry.state = _STATES.get(done.cost.state, entry_pb2.ENTRY_STATE_UNKNOWN)
        entry.finish_reason = done.reason
        self._usage.record(entry)

    def stored(self, item: Item, index: int, attempt_id: str, done: event_pb2.Finished) -> None:
        """A draw from the cache; also of a cloud model, since no proxy saw it."""
        origin = done.provenance
        entry = self._entry(item, None, index, attempt_id, origin)
        entry.tier, entry.provider, entry.model = origin.tier, origin.provider, origin.model
        entry.usage.CopyFrom(done.usage)
        entry.cost.CopyFrom(done.cost)
        entry.state = entry_pb2.ENTRY_STATE_SETTLED
        entry.finish_reason = done.reason
        entry.from_cache = True
        self._usage.record(entry)

    def failed(
        self,
        item: Item,
        target: Target,
        index: int,
        attempt_id: str,
        error: OrchestraError | None,
        *,
        began: provenance_pb2.Provenance | None,
        consumed: event_pb2.SampleFailed | None = None,
    ) -> None:
        """An attempt that did not finish. What it consumed is what the worker says; a worker that began and
        does not say leaves it unknown."""
        if not target.local:
            return
        entry = self._entry(item, target, index, attempt_id, began)
        entry.error_reason = error.reason if error is not None else "CANCELLED"
        if consumed is not None and consumed.HasField("usage"):
            entry.usage.CopyFrom(consumed.usage)
            entry.cost.CopyFrom(consumed.cost)
            entry.state = _STATES.get(consumed.cost.state, entry_pb2.ENTRY_STATE_UNKNOWN)
        elif began is not None:
            entry.cost.state = usage_pb2.COST_STATE_UNKNOWN
            entry.state = entry_pb2.ENTRY_STATE_UNKNOWN
        else:
            entry.state = entry_pb2.ENTRY_STATE_VOIDED
        self._usage.record(entry)

    def embedded(
        self,
        target: Target,
        request_id: str,
        attempt_id: str,
        *,
        tokens: int | None,
        seconds: float,
        reason: str,
    ) -> None:
        """Texts that a worker embedded, or failed to (`reason`). It does not say how long its device
        computed, so what that cost is not known."""
        entry = entry_pb2.UsageEntry(
            attempt_id=attempt_id,
            request_id=request_id,
            tenant=current_tenant(),
            tier=TIERS.get(target.tier, routing_pb2.TIER_UNSPECIFIED),
            provider=target.provider,
            model=target.model,
            revision=target.revision,
            node_id=target.node_id,
            cost=usage_pb2.Cost(state=usage_pb2.COST_STATE_UNKNOWN),
            state=entry_pb2.ENTRY_STATE_UNKNOWN,
            trace_id=call_trace_id(),
            error_reason=reason,
        )
        if tokens is not None:
            entry.usage.prompt_tokens = tokens
        entry.timings.total.FromNanoseconds(int(seconds * 1e9))
        entry.occurred_at.GetCurrentTime()
        self._usage.record(entry)

    def _entry(
        self,
        item: Item,
        target: Target | None,
        index: int,
        attempt_id: str,
        provenance: provenance_pb2.Provenance | None,
    ) -> entry_pb2.UsageEntry:
        entry = entry_pb2.UsageEntry(
            attempt_id=attempt_id,
            request_id=item.request_id,
            sample_index=index,
            tenant=item.tenant,
            run_id=item.generation.run_id,
            phase=item.job.phase,
            labels=item.generation.labels,
            trace_id=item.trace_id,
        )
        entry.occurred_at.GetCurrentTime()
        if target is not None:
            entry.tier = TIERS.get(target.tier, routing_pb2.TIER_UNSPECIFIED)
            entry.provider, entry.model = target.provider, target.model
            entry.revision, entry.node_id = target.revision, target.node_id
        if provenance is not None:
            entry.sample_id = provenance.sample_id
            entry.revision = provenance.revision or entry.revision
            entry.node_id = provenance.node_id or entry.node_id
        return entry
