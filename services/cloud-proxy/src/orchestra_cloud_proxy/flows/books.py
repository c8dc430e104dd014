"""Usage entries of cloud attempts: opened before a call leaves, settled however it ends."""

from __future__ import annotations

import structlog

from orchestra.generation.v1 import routing_pb2, usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting import cost_of_tokens
from orchestra_cloud_proxy.domain.attempt_ids import id_of_try
from orchestra_cloud_proxy.flows.draft import Draft
from orchestra_cloud_proxy.flows.wording import TIERS, to_usage
from orchestra_cloud_proxy.ports import Journal, Prices
from orchestra_errors import Unavailable

log = structlog.get_logger()
_STATES = {
    usage_pb2.COST_STATE_SETTLED: entry_pb2.ENTRY_STATE_SETTLED,
    usage_pb2.COST_STATE_ESTIMATED: entry_pb2.ENTRY_STATE_ESTIMATED,
}


class Books:
    """Every attempt that a reservation waits for has exactly one end."""

    def __init__(self, journal: Journal, prices: Prices) -> None:
        self._journal = journal
        self._prices = prices

    def price_version(self, provider: str, model: str) -> str:
        """Of the row that holds now; empty when the price is not known."""
        price = self._prices.price(provider, model)
        return price.price_version if price is not None else ""

    async def open(self, draft: Draft) -> None:
        """Durable when it returns. Raises Unavailable: nothing may leave then."""
        if not draft.opened:
            entry = self._entry(draft)
            entry.reservation_id = draft.job.reservation.id
            entry.cost.price_version = draft.price_version
            await self._journal.opened(entry)
            draft.opened = True

    def cost(self, draft: Draft) -> usage_pb2.Cost:
        """Of what the provider reported so far."""
        offering = draft.job.offering
        price = self._prices.price(offering.provider, offering.model)
        return cost_of_tokens(price, to_usage(draft.usage) if draft.usage is not None else None)

    def superseded(self, draft: Draft, error_reason: str) -> None:
        """A try that a repeat follows, and that may have been charged: nobody knows what."""
        entry = self._entry(draft)
        entry.attempt_id = id_of_try(draft.attempt_id, draft.tries)
        entry.sample_id = ""
        entry.error_reason = error_reason
        self._fill(entry, draft)
        if entry.state == entry_pb2.ENTRY_STATE_UNKNOWN:
            entry.reservation_id = draft.job.reservation.id
            draft.job.reservation.unknown = True
        self._settle(entry)

    def close(self, draft: Draft, error_reason: str = "") -> None:
        """The end of the sample; a plain call, safe in `finally`. What never left and was never announced
        leaves no entry."""
        if not (draft.opened or draft.started):
            draft.job.reservation.running -= 1
            return
        entry = self._entry(draft)
        entry.error_reason = error_reason
        if not error_reason:
            entry.finish_reason = draft.reason
        self._fill(entry, draft)
        known = entry.state != entry_pb2.ENTRY_STATE_UNKNOWN
        entry.reservation_id = draft.job.reservation.id_for_end(known=known)
        self._settle(entry)

    def _fill(self, entry: entry_pb2.UsageEntry, draft: Draft) -> None:
        """State, usage and cost from what is known."""
        if draft.free:
            entry.state = entry_pb2.ENTRY_STATE_VOIDED
            entry.cost.CopyFrom(usage_pb2.Cost(state=usage_pb2.COST_STATE_SETTLED, nanos=0))
            entry.cost.price_version = draft.price_version
            return
        cost = self.cost(draft)
        if draft.usage is not None:
            entry.usage.CopyFrom(to_usage(draft.usage))
        if entry.error_reason and cost.state == usage_pb2.COST_STATE_SETTLED:
            # what a broken stream reported is what had been consumed by then, not what is charged in the end
            cost.state = usage_pb2.COST_STATE_ESTIMATED
        entry.cost.CopyFrom(cost)
        entry.state = _STATES.get(cost.state, entry_pb2.ENTRY_STATE_UNKNOWN)

    def _entry(self, draft: Draft) -> entry_pb2.UsageEntry:
        job, offering = draft.job, draft.job.offering
        return entry_pb2.UsageEntry(
            attempt_id=draft.attempt_id,
            request_id=job.request_id,
            sample_id=draft.sample_id,
            sample_index=draft.index,
            tenant=job.tenant,
            run_id=job.generation.run_id,
            phase=job.generation.phase,
            tier=TIERS.get(offering.tier, routing_pb2.TIER_UNSPECIFIED),
            provider=offering.provider,
            model=offering.model,
            revision=draft.revision,
            timings=draft.timings(),
            labels=job.generation.labels,
            trace_id=job.trace_id,
        )

    def _settle(self, entry: entry_pb2.UsageEntry) -> None:
        try:
            self._journal.settled(entry)
        except Unavailable as full:
            # only an entry that was never opened can be refused, and that one consumed nothing or little
            log.error("usage entry lost", attempt_id=entry.attempt_id, reason=full.reason)
