"""kill -9 under load: what was acknowledged is there, once; what waits in a spool arrives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestra.generation.v1.usage_pb2 import COST_STATE_SETTLED, Cost
from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1.entry_pb2 import ENTRY_STATE_SETTLED, UsageEntry
from orchestra_accounting import LedgerShipper, Spool
from orchestra_errors import OrchestraError
from orchestra_rpc import call_unary


def entry(name: str) -> UsageEntry:
    return UsageEntry(
        attempt_id=name,
        request_id=name,
        state=ENTRY_STATE_SETTLED,
        cost=Cost(state=COST_STATE_SETTLED, nanos=1),
    )


async def totals(ledger: Any) -> tuple[int, int]:
    answer = await call_unary(ledger.stub.QueryCosts(pb.QueryCostsRequest()))
    return sum(row.attempts for row in answer.buckets), sum(row.cost_nanos for row in answer.buckets)


async def load(ledger: Any, prefix: str, acknowledged: set[str], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        names = [f"{prefix}/{number}/{item}" for item in range(5)]
        number += 1
        record = pb.RecordUsageRequest(request_id=names[0], entries=[entry(name) for name in names])
        try:
            await call_unary(ledger.stub.RecordUsage(record))
        except OrchestraError:
            return
        acknowledged.update(names)


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_nothing_acknowledged_is_lost_and_nothing_counts_twice(ledger: Any, rounds: int) -> None:
    acknowledged: set[str] = set()
    for round_number in range(rounds):
        goal = len(acknowledged) + 300 + 97 * round_number
        stop = asyncio.Event()
        lanes = [
            asyncio.create_task(load(ledger, f"{round_number}.{lane}", acknowledged, stop))
            for lane in range(8)
        ]
        async with asyncio.timeout(30):
            while len(acknowledged) < goal:
                await asyncio.wait(lanes, timeout=0.01)
        await ledger.kill()
        stop.set()
        await asyncio.gather(*lanes)
        await ledger.start()
        # everything acknowledged is a duplicate now, and nothing else is added by saying it again
        attempts, cost = await totals(ledger)
        again = pb.RecordUsageRequest(
            request_id="again", entries=[entry(name) for name in sorted(acknowledged)]
        )
        for start in range(0, len(again.entries), 5_000):
            part = pb.RecordUsageRequest(request_id="again", entries=again.entries[start : start + 5_000])
            assert (await call_unary(ledger.stub.RecordUsage(part))).recorded == 0
        assert await totals(ledger) == (attempts, cost)
        assert attempts == cost >= len(acknowledged)


async def test_a_spool_outlives_the_ledger(ledger: Any, tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path / "spool")
    shipper = LedgerShipper(ledger.stub, spool, batch=20)
    shipper.start()
    for number in range(100):
        spool.record(entry(f"before/{number}"))
    assert await shipper.flush(10)
    await ledger.kill()
    for number in range(100):
        await spool.settled(entry(f"while away/{number}"))
    assert not await shipper.flush(0.3)
    await shipper.close()
    await ledger.start()
    shipper = LedgerShipper(ledger.stub, spool, batch=20)
    shipper.start()
    assert await shipper.flush(10)
    assert await totals(ledger) == (200, 200)
    await shipper.close()
    await spool.close()
