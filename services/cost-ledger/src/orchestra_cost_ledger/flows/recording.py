"""Usage and feedback come in; budgets that reach a threshold are told of."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from orchestra_cost_ledger.domain.entry import Entry, Feedback
from orchestra_cost_ledger.ports import LedgerStore, Recorded

log = structlog.get_logger()


class RecordUsage:
    """Durable when it returns. An attempt that was recorded before is a duplicate: it changes nothing."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    async def __call__(self, entries: Sequence[Entry], feedback: Sequence[Feedback] = ()) -> Recorded:
        done = await self._store.record(entries, feedback)
        for alert in done.alerts:
            log.warning(
                "budget threshold reached",
                budget=alert.budget.name,
                share=alert.share,
                spent_nanos=alert.spent_nanos,
                limit_nanos=alert.budget.limit_nanos,
                hard=alert.budget.hard,
            )
        return done
