"""Usage entries into the durable spool, from where they go to the ledger."""

from __future__ import annotations

import structlog

from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting import Spool, SpoolFull

log = structlog.get_logger()


class SpooledUsage:
    """Implements the port Usage. What is recorded here is local work and stored draws: no budget waits for
    it, so that a full spool costs the entry and not the answer."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.lost = 0
        """Entries that found the spool full."""

    def record(self, entry: entry_pb2.UsageEntry) -> None:
        try:
            self._spool.record(entry)
        except SpoolFull as full:
            self.lost += 1
            if self.lost & (self.lost - 1) == 0:
                log.error("usage entry lost", lost=self.lost, attempt_id=entry.attempt_id, reason=full.reason)
