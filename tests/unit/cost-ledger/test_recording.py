"""Entries count once, are charged to every budget that matches, and what is unknown stays unknown."""

from __future__ import annotations

from collections.abc import Callable

from orchestra_cost_ledger.domain.budget import Budget
from orchestra_cost_ledger.domain.entry import Entry, EntryState, Feedback
from orchestra_cost_ledger.domain.report import CostFilter, CostQuery
from orchestra_cost_ledger.domain.reservation import Held, Wish
from orchestra_cost_ledger.ports import LedgerStore

NewEntry = Callable[..., Entry]
NewBudget = Callable[..., Budget]
NewWish = Callable[..., Wish]
DAY = 86_400_000_000


def everything(*group_by: str, **wanted: object) -> CostQuery:
    return CostQuery(CostFilter(**wanted), group_by, None, 100, 0)  # type: ignore[arg-type]


async def test_a_repeat_adds_nothing_and_changes_nothing(store: LedgerStore, new_entry: NewEntry) -> None:
    first = await store.record([new_entry("a", cost_nanos=5), new_entry("a", cost_nanos=6)], [])
    again = await store.record([new_entry("a", cost_nanos=7), new_entry("b", cost_nanos=1)], [])
    assert (first.recorded, first.duplicates) == (1, 1)
    assert (again.recorded, again.duplicates) == (1, 1)
    (row,) = await store.query(everything())
    assert (row.attempts, row.cost_nanos) == (2, 6)


async def test_unknown_is_counted_beside_the_sums(store: LedgerStore, new_entry: NewEntry) -> None:
    await store.record(
        [
            new_entry("a", cost_nanos=5, prompt_tokens=3, completion_tokens=4),
            new_entry("b", state=EntryState.UNKNOWN, prompt_tokens=3),
        ],
        [],
    )
    (row,) = await store.query(everything())
    assert (row.cost_nanos, row.attempts_of_unknown_cost) == (5, 1)
    assert (row.prompt_tokens, row.completion_tokens, row.attempts_of_unknown_usage) == (6, 4, 1)


async def test_groups_buckets_labels_and_filters(store: LedgerStore, new_entry: NewEntry, now: int) -> None:
    await store.record(
        [
            new_entry("a", run_id="r1", model="x", cost_nanos=1, labels='{"team": "red"}'),
            new_entry("b", run_id="r1", model="y", cost_nanos=2, occurred_at=now + DAY),
            new_entry("c", run_id="r2", model="x", cost_nanos=4, occurred_at=now + DAY),
        ],
        [],
    )
    by_model = await store.query(everything("model"))
    assert [(row.keys, row.cost_nanos) for row in by_model] == [(("x",), 5), (("y",), 2)]
    by_label = await store.query(everything("label:team"))
    assert [(row.keys, row.attempts) for row in by_label] == [(("",), 2), (("red",), 1)]
    daily = await store.query(CostQuery(CostFilter(since=now), (), DAY, 100, 0))
    assert [(row.bucket_from, row.cost_nanos) for row in daily] == [(now, 1), (now + DAY, 6)]
    (of_run,) = await store.query(everything(run_id="r1", until=now + 1))
    assert of_run.cost_nanos == 1


async def test_accepted_samples_are_counted_once_by_the_last_judgement(
    store: LedgerStore, new_entry: NewEntry, now: int
) -> None:
    def judged(sample_id: str, accepted: bool, at: int) -> Feedback:
        return Feedback(sample_id, "t", "", accepted, None, {}, at)

    entries = [new_entry("a", sample_id="s1"), new_entry("b", sample_id="s1", from_cache=1)]
    await store.record([*entries, new_entry("c", sample_id="s2")], [judged("s1", True, now)])
    await store.record([], [judged("s2", True, now + 2), judged("s2", False, now + 1)])
    (row,) = await store.query(everything())
    assert (row.attempts, row.samples_from_cache, row.accepted_samples) == (3, 1, 2)


async def test_every_matching_budget_is_charged_in_the_period_of_the_attempt(
    store: LedgerStore, new_entry: NewEntry, new_budget: NewBudget, now: int
) -> None:
    await store.create_budget(new_budget("all", 100), now, None)
    await store.create_budget(new_budget("openai", 100, provider="openai"), now, None)
    await store.create_budget(new_budget("other", 100, provider="other"), now, None)
    await store.create_budget(new_budget("power", 100, tier=1, electricity_only=True), now, None)
    await store.record(
        [
            new_entry("a", provider="openai", cost_nanos=10),
            new_entry("b", provider="openai", cost_nanos=20, occurred_at=now - 40 * DAY),
            new_entry("c", provider="local", tier=1, cost_nanos=7, electricity_nanos=3),
        ],
        [],
    )
    spent = {one.budget.name: one.spent_nanos for one in await store.budgets("", 10, now)}
    assert spent == {"all": 17, "openai": 10, "other": 0, "power": 3}


async def test_a_budget_begins_with_what_was_spent_and_is_held_already(
    store: LedgerStore, new_entry: NewEntry, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.record([new_entry("a", provider="openai", cost_nanos=10)], [])
    await store.reserve([new_wish("b", 5)], now)
    standing = await store.create_budget(new_budget("late", 100, provider="openai"), now, None)
    assert (standing.spent_nanos, standing.reserved_nanos) == (10, 5)


async def test_each_threshold_calls_once_per_period(
    store: LedgerStore, new_entry: NewEntry, new_budget: NewBudget, now: int
) -> None:
    await store.create_budget(new_budget("b", 100, hard=False, alert_at=(0.5, 1.0)), now, None)
    alerts = []
    for number in range(6):
        done = await store.record([new_entry(str(number), cost_nanos=25)], [])
        alerts += [(alert.share, alert.spent_nanos) for alert in done.alerts]
    assert alerts == [(0.5, 50), (1.0, 100)]


async def test_settling_frees_the_reservation_and_unknown_keeps_it(
    store: LedgerStore, new_entry: NewEntry, new_budget: NewBudget, new_wish: NewWish, now: int
) -> None:
    await store.create_budget(new_budget("b", 100), now, None)
    held = await store.reserve([new_wish(name, 10) for name in ("settled", "voided", "unknown")], now)
    ids = [one.reservation_id for one in held if isinstance(one, Held)]
    await store.record(
        [
            new_entry("settled", reservation_id=ids[0], cost_nanos=4, provider="openai"),
            new_entry("voided", reservation_id=ids[1], state=EntryState.VOIDED, cost_nanos=0),
            new_entry("unknown", reservation_id=ids[2], state=EntryState.UNKNOWN),
        ],
        [],
    )
    standing = await store.budget("id-b", now + DAY)
    assert (standing.spent_nanos, standing.reserved_nanos) == (4, 10)
    assert await store.release(ids) == 1
    assert (await store.budget("id-b", now)).reserved_nanos == 0
