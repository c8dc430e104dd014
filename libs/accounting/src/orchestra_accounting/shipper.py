"""Delivery of the spool to the cost-ledger: in batches, in order, for as long as it takes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING

import structlog

from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.spool import Batch, Spool
from orchestra_errors import AlreadyExists, InvalidRequest, OrchestraError
from orchestra_rpc import call_unary, deadline_scope

if TYPE_CHECKING:
    from orchestra.ledger.v1.cost_ledger_service_pb2_grpc import CostLedgerServiceAsyncStub

log = structlog.get_logger()
_REFUSALS = (InvalidRequest, AlreadyExists)


class LedgerShipper:
    """Ships what the spool holds. Each entry counts once in the ledger, by its attempt id, however often it
    is sent.

    Entries with a reservation go to `Settle`, the others to `RecordUsage`. While the ledger is away the tries
    back off, up to `longest_wait_s`. An entry that the ledger refuses as wrong is logged whole and passed
    over. A batch that comes from one call is sent in that call's trace.
    """

    def __init__(
        self,
        stub: CostLedgerServiceAsyncStub,
        spool: Spool,
        *,
        batch: int = 500,
        call_timeout_s: float = 30.0,
        longest_wait_s: float = 15.0,
    ) -> None:
        self._stub = stub
        self._spool = spool
        self._batch = batch
        self._call_timeout_s = call_timeout_s
        self._longest_wait_s = longest_wait_s
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._progress = asyncio.Event()

    def start(self) -> None:
        """Ship from now on, until `close`."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ledger shipper", context=Context())

    async def flush(self, timeout: float) -> bool:
        """Wait until everything taken so far is delivered; False when `timeout` seconds were not enough."""
        try:
            async with asyncio.timeout(timeout):
                while not self._spool.all_delivered:
                    self._hurry.set()
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return False
        finally:
            self._hurry.clear()
        return True

    async def close(self) -> None:
        """Stop shipping; what is not delivered stays in the spool."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            batch = await self._spool.next_batch(self._batch)
            await self._deliver(batch)
            await self._spool.delivered(batch)
            self._progress.set()

    async def _deliver(self, batch: Batch) -> None:
        wait = 0.1
        while True:
            try:
                await self._send(batch.entries, _one_call(batch))
                return
            except _REFUSALS:
                break
            except OrchestraError as error:
                log.warning(
                    "ledger does not take usage", error=error, entries=len(batch.entries), next_try_s=wait
                )
            await self._pause(wait)
            wait = min(wait * 2, self._longest_wait_s)
        await self._one_by_one(batch)

    async def _one_by_one(self, batch: Batch) -> None:
        """One of them is refused as wrong: find it, without losing its neighbours."""
        for entry in batch.entries if len(batch.entries) > 1 else ():
            await self._deliver(Batch([entry], [None], batch.end))
        if len(batch.entries) == 1:
            log.error("ledger refuses an entry", entry=str(batch.entries[0]))

    async def _send(self, entries: Sequence[entry_pb2.UsageEntry], context: Context | None) -> None:
        sending = self._send_all(entries)
        if context is None:
            await sending
            return
        task = asyncio.get_running_loop().create_task(sending, name="ship usage", context=context)
        try:
            await task
        finally:
            task.cancel()

    async def _send_all(self, entries: Sequence[entry_pb2.UsageEntry]) -> None:
        # the call that these come from may be long over, and so is its deadline
        with deadline_scope(None):
            reserved = [entry for entry in entries if entry.reservation_id]
            others = [entry for entry in entries if not entry.reservation_id]
            if reserved:
                settle = pb.SettleRequest(request_id=str(uuid.uuid4()), entries=reserved)
                await call_unary(self._stub.Settle(settle, timeout=self._call_timeout_s))
            if others:
                record = pb.RecordUsageRequest(request_id=str(uuid.uuid4()), entries=others)
                await call_unary(self._stub.RecordUsage(record, timeout=self._call_timeout_s))

    async def _pause(self, seconds: float) -> None:
        """Back off; someone who waits in `flush` makes the pauses short, not absent."""
        try:
            async with asyncio.timeout(0.1 if self._hurry.is_set() else seconds):
                await self._hurry.wait()
                await asyncio.sleep(0.1)
        except TimeoutError:
            pass


def _one_call(batch: Batch) -> Context | None:
    """The context of the one call that all of these come from; None when they come from several."""
    traces = {entry.trace_id for entry in batch.entries}
    return batch.contexts[0] if len(traces) == 1 and "" not in traces else None
