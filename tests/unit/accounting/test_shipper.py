"""Delivery survives a ledger that is away, that answers twice, and that refuses one entry among many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path

import grpc
import pytest

from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as pb_grpc
from orchestra.ledger.v1.entry_pb2 import UsageEntry
from orchestra_accounting import LedgerShipper, Spool
from orchestra_errors import InvalidRequest, Unavailable
from orchestra_rpc import Deadline, RpcSettings, Service, current_deadline, deadline_scope, running

Make = Callable[..., UsageEntry]
call: ContextVar[str] = ContextVar("call", default="")


class RecordingLedger(pb_grpc.CostLedgerServiceServicer):
    """Keeps what comes; `failures` times it fails after it has kept it, as a lost answer does."""

    def __init__(self) -> None:
        self.settled: list[str] = []
        self.recorded: list[str] = []
        self.failures = 0
        self.poison = ""

    async def Settle(self, request: pb.SettleRequest, context: object) -> pb.SettleResponse:
        self._take(request.entries, self.settled)
        return pb.SettleResponse()

    async def RecordUsage(self, request: pb.RecordUsageRequest, context: object) -> pb.RecordUsageResponse:
        assert request.request_id
        self._take(request.entries, self.recorded)
        return pb.RecordUsageResponse()

    def _take(self, entries: object, into: list[str]) -> None:
        names = [entry.attempt_id for entry in entries]  # type: ignore[attr-defined]
        if self.poison in names:
            raise InvalidRequest.of("entries[0].tenant", "is missing")
        into += [name for name in names if name not in into]
        if self.failures:
            self.failures -= 1
            raise Unavailable("the ledger")


@pytest.fixture
async def ledger() -> AsyncIterator[tuple[RecordingLedger, object]]:
    servicer = RecordingLedger()
    service = Service(
        "orchestra.ledger.v1.CostLedgerService",
        pb_grpc.add_CostLedgerServiceServicer_to_server,
        servicer,
    )
    settings = RpcSettings(listen="127.0.0.1:0", drain_s=0)
    async with running([service], settings=settings) as server, _channel(server.address) as channel:
        yield servicer, pb_grpc.CostLedgerServiceStub(channel)


def _channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address)


async def test_reserved_entries_are_settled_and_the_others_recorded(
    tmp_path: Path, entry: Make, ledger: tuple[RecordingLedger, object]
) -> None:
    servicer, stub = ledger
    spool = await Spool.open(tmp_path)
    shipper = LedgerShipper(stub, spool, batch=7)
    shipper.start()
    for number in range(40):
        spool.record(entry(number, reservation_id="res" if number % 2 else ""))
    assert await shipper.flush(5)
    assert servicer.settled == [f"r/{number}/1" for number in range(1, 40, 2)]
    assert servicer.recorded == [f"r/{number}/1" for number in range(0, 40, 2)]
    await shipper.close()
    await spool.close()


async def test_lost_answers_are_asked_again(
    tmp_path: Path, entry: Make, ledger: tuple[RecordingLedger, object]
) -> None:
    servicer, stub = ledger
    servicer.failures = 3
    spool = await Spool.open(tmp_path)
    shipper = LedgerShipper(stub, spool)
    shipper.start()
    spool.record(entry(1))
    assert await shipper.flush(5)
    assert servicer.recorded == ["r/1/1"]
    await shipper.close()
    await spool.close()


async def test_one_wrong_entry_does_not_hold_up_its_neighbours(
    tmp_path: Path, entry: Make, ledger: tuple[RecordingLedger, object]
) -> None:
    servicer, stub = ledger
    servicer.poison = "r/3/1"
    spool = await Spool.open(tmp_path)
    for number in range(6):
        spool.record(entry(number))
    shipper = LedgerShipper(stub, spool)
    shipper.start()
    assert await shipper.flush(5)
    assert servicer.recorded == [f"r/{number}/1" for number in (0, 1, 2, 4, 5)]
    await shipper.close()
    await spool.close()


async def test_a_flush_against_a_ledger_that_is_away_says_so_in_time(tmp_path: Path, entry: Make) -> None:
    spool = await Spool.open(tmp_path)
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        shipper = LedgerShipper(pb_grpc.CostLedgerServiceStub(channel), spool)
        shipper.start()
        spool.record(entry(1))
        async with asyncio.timeout(5):
            assert not await shipper.flush(0.3)
        await shipper.close()
    await spool.close()
    spool = await Spool.open(tmp_path)
    assert not spool.all_delivered
    await spool.close()


async def test_what_comes_from_one_call_is_sent_in_its_context(tmp_path: Path, entry: Make) -> None:
    class Stub:
        async def RecordUsage(self, request: pb.RecordUsageRequest, timeout: float) -> pb.RecordUsageResponse:
            seen.append((call.get(), current_deadline(), len(request.entries)))
            return pb.RecordUsageResponse()

    seen: list[tuple[str, object, int]] = []
    spool = await Spool.open(tmp_path)
    shipper = LedgerShipper(Stub(), spool)  # type: ignore[arg-type]
    shipper.start()
    token = call.set("mine")
    with deadline_scope(Deadline.after(0.0)):
        spool.record(entry(1, trace_id="a"))
    call.reset(token)
    assert await shipper.flush(5)
    for trace in "ab":
        spool.record(entry(trace, trace_id=trace))
    assert await shipper.flush(5)
    assert seen[0] == ("mine", None, 1)
    assert sum(count for _, _, count in seen) == 3
    await shipper.close()
    await spool.close()
