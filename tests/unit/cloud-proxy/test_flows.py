"""Waiting, pumping and what a proxy without providers must not load."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from orchestra_cloud_proxy.flows.gate import Gate
from orchestra_cloud_proxy.flows.job import Reservation
from orchestra_cloud_proxy.flows.keyring import Keyring
from orchestra_cloud_proxy.flows.mailbox import Mailbox
from orchestra_cloud_proxy.flows.pump import pumped
from orchestra_secrets import EnvSecretSource, Secret


class OneKey:
    def present(self) -> Sequence[tuple[str, Secret | None]]:
        return (("", None),)

    def why_absent(self) -> str:
        return ""


def test_a_proxy_without_providers_loads_no_sdk() -> None:
    script = (
        "import orchestra_cloud_proxy.app, orchestra_cloud_proxy.__main__, sys;"
        "print([m for m in ('openai', 'anthropic', 'together', 'httpx', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestMailbox:
    async def test_takes_everything_that_is_ready(self) -> None:
        box: Mailbox[int] = Mailbox(10)
        for number in range(3):
            await box.put(number)
        assert await box.take() == [0, 1, 2]
        assert await box.take(0) == []
        box.close()
        assert await box.take() is None

    async def test_a_full_one_slows_its_writers(self) -> None:
        box: Mailbox[int] = Mailbox(1)
        await box.put(1)
        second = asyncio.create_task(box.put(2))
        await asyncio.sleep(0)
        assert not second.done()
        assert await box.take() == [1]
        await second
        assert await box.take() == [2]

    async def test_writers_do_not_wait_for_a_reader_that_has_gone(self) -> None:
        box: Mailbox[int] = Mailbox(1)
        await box.put(1)
        waiting = asyncio.create_task(box.put(2))
        await asyncio.sleep(0)
        box.abandon()
        await waiting
        await box.put(3)

    async def test_what_came_before_an_error_is_still_taken(self) -> None:
        box: Mailbox[int] = Mailbox(10)
        await box.put(1)
        box.close(ValueError("broken"))
        assert await box.take() == [1]
        with pytest.raises(ValueError, match="broken"):
            await box.take()


class TestPump:
    async def test_leaving_closes_the_source(self) -> None:
        closed = asyncio.Event()

        async def source() -> AsyncGenerator[int, None]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                closed.set()

        async with pumped(source) as box:
            assert await box.take() == [1]
        assert closed.is_set()

    async def test_a_slow_reader_bounds_what_is_read_ahead(self) -> None:
        made = 0

        async def source() -> AsyncGenerator[int, None]:
            nonlocal made
            while True:
                made += 1
                yield made

        async with pumped(source) as box:
            await box.take()
            for _ in range(1000):
                await asyncio.sleep(0)
            assert made <= 200


class TestGate:
    async def test_turns_come_in_order_and_places_are_given_back(self) -> None:
        gate = Gate("p", OneKey(), lambda: 0.0, rpm=None, tpm=None, most=1)
        first, second, third = (gate.join("m", 1, 1e9) for _ in range(3))
        assert [one.granted for one in (first, second, third)] == [True, False, False]
        with second:
            pass
        with first:
            assert await first.wait(0)
        assert third.granted, "one that left the line is passed over"

    async def test_a_model_without_places_does_not_hold_up_another(self) -> None:
        gate = Gate("p", OneKey(), lambda: 0.0, rpm=None, tpm=None, most=4)
        full = gate.join("a", 1, 1e9)
        for _ in range(20):
            gate.limited(full, None)
        assert not gate.join("a", 1, 1e9).granted
        assert gate.join("b", 1, 1e9).granted

    async def test_requests_go_as_the_bucket_fills(self) -> None:
        loop = asyncio.get_running_loop()
        # the clock stands while they join, however long that takes
        stopped = [loop.time()]
        gate = Gate(
            "p", OneKey(), lambda: stopped[0] if stopped else loop.time(), rpm=600, tpm=None, most=1000
        )
        tickets = [gate.join("m", 1, 1e9) for _ in range(602)]
        assert sum(ticket.granted for ticket in tickets) == 600
        stopped.clear()
        async with asyncio.timeout(2):
            await asyncio.gather(*(ticket.wait(2) for ticket in tickets))
        assert all(ticket.granted for ticket in tickets)


class TestReservation:
    def test_the_last_known_end_gives_it_back(self) -> None:
        held = Reservation("r", 3)
        assert [held.id_for_end(known=True) for _ in range(3)] == ["", "", "r"]

    def test_an_unknown_cost_keeps_it_held(self) -> None:
        held = Reservation("r", 3)
        assert [held.id_for_end(known=known) for known in (True, False, True)] == ["", "r", ""]


class TestKeyring:
    async def test_a_key_that_is_read_again_unchanged_keeps_its_age(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        environment = {"ORCHESTRA_SECRET_A": "one"}
        ring = Keyring("p", ["a"], EnvSecretSource(environment), timedelta(days=30), lambda: now)
        assert await ring.reload()
        now += timedelta(days=31)
        assert not await ring.reload()
        assert ring.overdue(ring.slots[0])
        environment["ORCHESTRA_SECRET_A"] = "two"
        assert await ring.reload()
        assert not ring.overdue(ring.slots[0])

    async def test_a_key_that_turns_unreadable_stays_and_one_that_goes_is_gone(self) -> None:
        environment = {"ORCHESTRA_SECRET_A": "one"}
        ring = Keyring("p", ["a"], EnvSecretSource(environment), timedelta(days=30))
        await ring.reload()
        environment["ORCHESTRA_SECRET_A"] = "line\nbreak"
        await ring.reload()
        assert ring.present()[0][1] == Secret("one")
        del environment["ORCHESTRA_SECRET_A"]
        await ring.reload()
        assert not ring.present()
        assert "ORCHESTRA_SECRET_A" in ring.why_absent()
