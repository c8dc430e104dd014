"""Runs: what they cost so far, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import InvalidRequest, NotFound, OrchestraError, Violations
from orchestra_requests.request import MAX_ID

from ..domain.cancelled_runs import Cancellation
from ..ports import Ledger
from .caller import current_tenant
from .running import Running

MAX_REASON = 1024


@dataclass(frozen=True, slots=True)
class RunSeen:
    """`spent` is None when the ledger did not answer."""

    run_id: str
    tenant: str
    running: int
    spent: entry_pb2.CostBucket | None
    cancelled: Cancellation | None


class RunsFlow:
    """Joins what the ledger knows of a run with what runs on this replica."""

    def __init__(self, running: Running, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._running = running
        self._ledger = ledger
        self._clock = clock

    async def get(self, run_id: str) -> RunSeen:
        """Raises NotFound for a run that nobody has heard of, when the ledger can say so."""
        if not run_id:
            raise InvalidRequest.of("run_id", "must be set")
        seen = await self._seen(run_id)
        unheard = seen.spent is not None and not seen.spent.attempts
        if unheard and not seen.running and seen.cancelled is None:
            raise NotFound("run", run_id)
        return seen

    async def list(self, page_size: int, page_token: str) -> tuple[list[RunSeen], str]:
        """The ledger's runs, page by page; what runs here and has no entry yet stands on the first page.

        Raises Unavailable when the ledger does not answer: a list that leaves runs out would be untrue.
        """
        tenant = current_tenant()
        request = ledger_pb.QueryCostsRequest(group_by=["run"], page_size=page_size, page_token=page_token)
        request.filter.tenant = tenant
        answer = await self._ledger.costs(request)
        rows = {bucket.keys[0]: bucket for bucket in answer.buckets if bucket.keys and bucket.keys[0]}
        here = [] if page_token else [run_id for run_id in self._running.runs(tenant) if run_id not in rows]
        return [
            self._row(tenant, run_id, rows.get(run_id)) for run_id in [*here, *rows]
        ], answer.next_page_token

    async def cancel(self, run_id: str, reason: str) -> tuple[RunSeen, int]:
        """End what runs and refuse what comes. Idempotent; on this replica alone."""
        found = Violations()
        found.require(bool(run_id), "run_id", "must be set")
        found.require(len(run_id) <= MAX_ID, "run_id", f"must have at most {MAX_ID} characters")
        found.require(len(reason) <= MAX_REASON, "reason", f"must have at most {MAX_REASON} characters")
        found.raise_if_any()
        _, stopped = self._running.cancel(Cancellation(run_id, current_tenant(), reason, self._clock()))
        return await self._seen(run_id), stopped

    async def _seen(self, run_id: str) -> RunSeen:
        tenant = current_tenant()
        request = ledger_pb.QueryCostsRequest()
        request.filter.tenant, request.filter.run_id = tenant, run_id
        spent: entry_pb2.CostBucket | None
        try:
            answer = await self._ledger.costs(request)
            spent = answer.buckets[0] if answer.buckets else entry_pb2.CostBucket()
        except OrchestraError:
            spent = None
        return self._row(tenant, run_id, spent)

    def _row(self, tenant: str, run_id: str, spent: entry_pb2.CostBucket | None) -> RunSeen:
        return RunSeen(
            run_id,
            tenant,
            self._running.count(tenant, run_id),
            spent,
            self._running.cancelled(tenant, run_id),
        )
