"""No budget is promised more than it has, whatever comes in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra_cost_ledger.adapters.sqlite.store import SqliteStore
from orchestra_cost_ledger.domain.budget import Budget, Lease
from orchestra_cost_ledger.domain.entry import Entry
from orchestra_cost_ledger.domain.reservation import Held, Outcome, Refused, Wish
from orchestra_cost_ledger.ports import LedgerStore
from orchestra_errors import BudgetExceeded, BudgetFrozen, FailedPrecondition, NotFound, PriceUnknown

NewEntry = Callable[..., Entry]
NewBudget = Callable[..., Budget]
NewWish = Callable[..., Wish]
HOUR = 3_600_000_000


def reasons(outcomes: list[Outcome]) -> list[str | None]:
    return [one.reason if isinstance(one, Refused) else None for one in outcomes]


async def test_500_at_once_against_room_for_100_admit_100(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("b", 1_000), now, None)
    outcomes = await asyncio.gather(
        *(store.reserve([new_wish(str(number), 10)], now) for number in range(500))
    )
    assert sum(isinstance(one[0], Held) for one in outcomes) == 100
    assert (await store.budget("id-b", now)).left_nanos == 0


async def test_two_replicas_on_one_file_admit_100_together(
    tmp_path: Path, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    first, second = [await SqliteStore.open(tmp_path / "one.sqlite") for _ in range(2)]
    await first.create_budget(new_budget("b", 1_000), now, None)
    outcomes = await asyncio.gather(
        *(
            store.reserve([new_wish(str(number), 10)], now)
            for number in range(100)
            for store in (first, second)
        )
    )
    by_attempt = {one[0].attempt_id for one in outcomes if isinstance(one[0], Held)}
    assert len(by_attempt) == 100
    assert (await second.budget("id-b", now)).reserved_nanos == 1_000
    await first.close()
    await second.close()


async def test_what_another_replica_changes_counts_from_the_next_reservation_on(
    tmp_path: Path, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    first, second = [await SqliteStore.open(tmp_path / "one.sqlite") for _ in range(2)]
    await first.create_budget(new_budget("b", 1_000), now, None)
    assert reasons(await second.reserve([new_wish("a", 10)], now)) == [None]
    await first.update_budget(new_budget("b", 1_000, frozen=True), ["frozen"], now, None)
    assert reasons(await second.reserve([new_wish("b", 10)], now)) == ["BUDGET_FROZEN"]
    await first.update_budget(new_budget("b", 15), ["frozen", "limit_nanos"], now, None)
    assert reasons(await second.reserve([new_wish("c", 10)], now)) == ["BUDGET_EXCEEDED"]
    await first.close()
    await second.close()


async def test_a_wish_needs_room_in_every_hard_budget_and_takes_none_when_one_refuses(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("wide", 1_000), now, None)
    await store.create_budget(new_budget("narrow", 10, provider="openai"), now, None)
    await store.create_budget(new_budget("soft", 1, hard=False), now, None)
    outcomes = await store.reserve([new_wish("a", 8), new_wish("b", 8), new_wish("c", 8, provider="x")], now)
    assert reasons(outcomes) == [None, "BUDGET_EXCEEDED", None]
    refused = outcomes[1]
    assert isinstance(refused, Refused)
    assert (refused.standing.budget.name, refused.standing.left_nanos, refused.needed_nanos) == (
        "narrow",
        2,
        8,
    )
    held = {one.budget.name: one.reserved_nanos for one in await store.budgets("", 9, now)}
    assert held == {"wide": 16, "narrow": 8, "soft": 16}


async def test_a_repeat_gets_its_first_reservation(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("b", 10), now, None)
    first = await store.reserve([new_wish("a", 10)], now)
    assert await store.reserve([new_wish("a", 10)], now + 1) == first
    assert (await store.budget("id-b", now)).reserved_nanos == 10


async def test_what_is_stale_is_given_back(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("b", 10), now, None)
    await store.reserve([new_wish("a", 10, now + 5)], now)
    assert reasons(await store.reserve([new_wish("b", 10)], now + 4)) == ["BUDGET_EXCEEDED"]
    assert (await store.budget("id-b", now + 5)).reserved_nanos == 0
    assert reasons(await store.reserve([new_wish("b", 10)], now + 5)) == [None]


async def test_an_unknown_price_is_refused_under_a_hard_budget_only(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("soft", 10, hard=False), now, None)
    await store.create_budget(new_budget("hard", 10, provider="openai"), now, None)
    outcomes = await store.reserve([new_wish("a", None), new_wish("b", None, provider="x")], now)
    assert reasons(outcomes) == ["PRICE_UNKNOWN", None]
    refused, admitted = outcomes
    assert isinstance(refused, Refused)
    assert isinstance(refused.error, PriceUnknown)
    assert refused.standing.budget.name == "hard"
    assert isinstance(admitted, Held)
    assert admitted.nanos is None
    assert await store.reserve([new_wish("b", None, provider="x")], now) == [admitted]


async def test_a_frozen_budget_refuses_everything(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    budget = new_budget("b", 1_000, hard=False)
    await store.create_budget(budget, now, None)
    await store.update_budget(new_budget("b", 1_000, frozen=True), ["frozen"], now, None)
    outcomes = await store.reserve([new_wish("a", 0), new_wish("b", None)], now)
    assert reasons(outcomes) == ["BUDGET_FROZEN", "BUDGET_FROZEN"]


async def test_released_room_is_free_again_once(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("b", 10), now, None)
    (held,) = await store.reserve([new_wish("a", 10)], now)
    assert isinstance(held, Held)
    assert await store.release([held.reservation_id, "unheard of"]) == 1
    assert await store.release([held.reservation_id]) == 0
    assert reasons(await store.reserve([new_wish("b", 10)], now)) == [None]


async def test_a_lease_counts_as_spent_until_it_comes_back(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, new_entry: NewEntry, now: int
) -> None:
    await store.create_budget(new_budget("b", 100), now, None)
    await store.lease(Lease("l", "id-b", "router", 80, now + HOUR), now, None)
    assert reasons(await store.reserve([new_wish("a", 30)], now)) == ["BUDGET_EXCEEDED"]
    with pytest.raises(BudgetExceeded):
        await store.lease(Lease("m", "id-b", "router", 30, now + HOUR), now, None)
    # one entry of the lease has arrived, another is still on its way when the rest goes back
    await store.record([new_entry("x", reservation_id="l", cost_nanos=10)], [])
    assert await store.return_lease("l", 25, now) == 55
    standing = await store.budget("id-b", now)
    assert (standing.spent_nanos, standing.reserved_nanos) == (10, 15)
    await store.record([new_entry("y", reservation_id="l", cost_nanos=15)], [])
    standing = await store.budget("id-b", now)
    assert (standing.spent_nanos, standing.reserved_nanos) == (25, 0)
    assert await store.return_lease("l", 25, now) == 55


async def test_a_lease_runs_out(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("b", 100), now, None)
    await store.lease(Lease("l", "id-b", "router", 100, now + 5), now, None)
    assert reasons(await store.reserve([new_wish("a", 100)], now + 5)) == [None]
    assert await store.return_lease("l", 0, now + 6) == 0


async def test_a_lease_of_nothing_or_of_a_frozen_budget_is_refused(
    store: LedgerStore, new_budget: NewBudget, now: int
) -> None:
    with pytest.raises(NotFound):
        await store.lease(Lease("l", "id-b", "router", 1, now + 5), now, None)
    await store.create_budget(new_budget("b", 100, frozen=True), now, None)
    with pytest.raises(BudgetFrozen):
        await store.lease(Lease("l", "id-b", "router", 1, now + 5), now, None)
    await store.create_budget(new_budget("power", 100, electricity_only=True), now, None)
    with pytest.raises(FailedPrecondition, match="electricity"):
        await store.lease(Lease("l", "id-power", "router", 1, now + 5), now, None)
    with pytest.raises(NotFound):
        await store.return_lease("l", 0, now)


async def test_a_budget_of_electricity_counts_power_and_stops_local_wishes_when_it_is_used_up_or_frozen(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, new_entry: NewEntry, now: int
) -> None:
    await store.record([new_entry("x", provider="local", cost_nanos=90, electricity_nanos=40)], [])
    await store.create_budget(new_budget("power", 100, electricity_only=True), now, None)
    await store.record([new_entry("y", provider="local", cost_nanos=90, electricity_nanos=59)], [])
    await store.record([new_entry("z", provider="openai", cost_nanos=90)], [])
    assert (await store.budget("id-power", now)).spent_nanos == 99
    wishes = [new_wish("a", 500, provider="local"), new_wish("b", None, provider="local")]
    assert reasons(await store.reserve(wishes, now)) == [None, None]
    assert (await store.budget("id-power", now)).reserved_nanos == 0
    await store.record([new_entry("w", provider="local", cost_nanos=1, electricity_nanos=1)], [])
    again = [new_wish("c", 0, provider="local"), new_wish("d", 500, provider="openai")]
    assert reasons(await store.reserve(again, now)) == ["BUDGET_EXCEEDED", None]
    await store.update_budget(new_budget("power", 100, frozen=True), ["frozen"], now, None)
    frozen = [new_wish("e", 0, provider="local"), new_wish("f", 500, provider="openai")]
    assert reasons(await store.reserve(frozen, now)) == ["BUDGET_FROZEN", None]


async def test_a_new_budget_holds_nothing_for_what_nobody_could_price(
    store: LedgerStore, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.reserve([new_wish("a", None), new_wish("b", 7)], now)
    assert (await store.create_budget(new_budget("b", 100), now, None)).reserved_nanos == 7
