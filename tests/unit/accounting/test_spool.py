"""The spool loses nothing that it said it holds, delivers in order, and stays within its bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.generation.v1.usage_pb2 import COST_STATE_UNKNOWN
from orchestra.ledger.v1.entry_pb2 import ENTRY_STATE_SETTLED, ENTRY_STATE_UNKNOWN, UsageEntry
from orchestra_accounting import JournalLocked, Spool, SpoolFull

Make = Callable[..., UsageEntry]


async def drain(spool: Spool, limit: int = 7) -> list[UsageEntry]:
    """Deliver everything, as a shipper would."""
    seen: list[UsageEntry] = []
    while True:
        try:
            batch = await asyncio.wait_for(spool.next_batch(limit), 0.3)
        except TimeoutError:
            return seen
        seen += batch.entries
        await spool.delivered(batch)


async def test_entries_come_out_in_order_once(tmp_path: Path, entry: Make) -> None:
    spool = await Spool.open(tmp_path)
    for number in range(50):
        spool.record(entry(number))
    assert [one.attempt_id for one in await drain(spool)] == [f"r/{number}/1" for number in range(50)]
    assert spool.all_delivered
    await spool.close()


async def test_what_was_not_delivered_is_there_after_a_restart(tmp_path: Path, entry: Make) -> None:
    spool = await Spool.open(tmp_path)
    await spool.settled(entry(1, state=ENTRY_STATE_SETTLED))
    await spool.close()
    spool = await Spool.open(tmp_path)
    assert [one.attempt_id for one in await drain(spool)] == ["r/1/1"]
    await spool.close()
    spool = await Spool.open(tmp_path)
    assert await drain(spool) == []
    await spool.close()


async def test_an_unfinished_attempt_is_closed_as_unknown_and_keeps_its_reservation(
    tmp_path: Path, entry: Make
) -> None:
    spool = await Spool.open(tmp_path)
    await spool.opened(entry(1, reservation_id="res", model="gpt-4o"))
    await spool.opened(entry(2))
    await spool.settled(entry(2, state=ENTRY_STATE_SETTLED))
    await spool.opened(entry(3))
    spool.withdrawn("r/3/1")
    await spool.close()
    spool = await Spool.open(tmp_path)
    found = {one.attempt_id: one for one in await drain(spool)}
    assert set(found) == {"r/1/1", "r/2/1"}
    unknown = found["r/1/1"]
    assert (unknown.state, unknown.cost.state) == (ENTRY_STATE_UNKNOWN, COST_STATE_UNKNOWN)
    assert (unknown.reservation_id, unknown.model) == ("res", "gpt-4o")
    assert not unknown.cost.HasField("nanos")
    await spool.close()


async def test_full_means_that_priced_calls_are_refused_but_open_ones_can_end(
    tmp_path: Path, entry: Make
) -> None:
    spool = await Spool.open(tmp_path, max_bytes=20_000)
    opened = 0
    with pytest.raises(SpoolFull):
        for number in range(1_000):
            await spool.opened(entry(number))
            opened += 1
    assert 3 < opened < 20
    with pytest.raises(SpoolFull):
        for number in range(1_000, 3_000):
            spool.record(entry(number))
    for number in range(opened):
        await spool.settled(entry(number, labels={"note": "x" * 500}))
    assert spool.open_attempts == 0
    await drain(spool, 500)
    await spool.opened(entry("again"))
    await spool.settled(entry("again"))
    await spool.close()


async def test_an_attempt_that_stays_open_does_not_pin_the_segments_behind_it(
    tmp_path: Path, entry: Make
) -> None:
    spool = await Spool.open(tmp_path, max_bytes=64_000)
    await spool.opened(entry("long"))
    for number in range(3_000):
        await spool.settled(entry(number))
        if number % 100 == 99:
            await drain_now(spool)
    assert spool.used_bytes < 64_000
    await spool.close()
    spool = await Spool.open(tmp_path, max_bytes=64_000)
    assert "r/long/1" in {one.attempt_id for one in await drain(spool)}
    await spool.close()


async def drain_now(spool: Spool) -> None:
    while not spool.all_delivered:
        await spool.delivered(await spool.next_batch(500))


async def test_one_folder_belongs_to_one_process(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path)
    with pytest.raises(JournalLocked, match="another running process"):
        await Spool.open(tmp_path)
    await spool.close()
    await (await Spool.open(tmp_path)).close()


async def test_a_torn_tail_loses_only_the_torn_record(tmp_path: Path, entry: Make) -> None:
    spool = await Spool.open(tmp_path)
    for number in range(3):
        await spool.settled(entry(number))
    await spool.close()
    _tear(tmp_path)
    spool = await Spool.open(tmp_path)
    await spool.settled(entry(9))
    assert [one.attempt_id for one in await drain(spool)] == ["r/0/1", "r/1/1", "r/9/1"]
    await spool.close()


def _tear(folder: Path) -> None:
    segment = max(folder.glob("*.seg"))
    segment.write_bytes(segment.read_bytes()[:-3])


async def test_a_cancelled_opening_never_left(tmp_path: Path, entry: Make) -> None:
    spool = await Spool.open(tmp_path)
    task = asyncio.create_task(spool.opened(entry(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert spool.open_attempts == 0
    await spool.close()
    spool = await Spool.open(tmp_path)
    assert await drain(spool) == []
    await spool.close()


async def test_an_entry_needs_an_id(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path)
    with pytest.raises(ValueError, match="attempt_id"):
        spool.record(UsageEntry())
    await spool.close()


async def test_an_end_that_comes_after_the_close_is_refused_and_found_open_at_the_next_start(
    tmp_path: Path, entry: Make
) -> None:
    spool = await Spool.open(tmp_path)
    await spool.opened(entry(1))
    await spool.close()
    with pytest.raises(SpoolFull, match="closed"):
        spool.settled(entry(1))
    spool = await Spool.open(tmp_path)
    (found,) = await drain(spool)
    assert found.state == ENTRY_STATE_UNKNOWN
    await spool.close()
