"""Local work beside the same tokens elsewhere: every figure follows from its formula, nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestra.generation.v1.usage_pb2 import COST_STATE_ESTIMATED
from orchestra.ledger.v1.entry_pb2 import Price, PriceStep
from orchestra_cost_ledger.domain.comparison import MONTH_US
from orchestra_cost_ledger.domain.entry import Entry, EntryState
from orchestra_cost_ledger.domain.report import CostFilter
from orchestra_cost_ledger.flows.comparing import CompareCosts
from orchestra_cost_ledger.flows.pricing import Prices
from orchestra_cost_ledger.ports import LedgerStore

NewEntry = Callable[..., Entry]
DOLLAR = 1_000_000_000


async def add_price(store: LedgerStore, provider: str, model: str, **fields: Any) -> None:
    row = Price(provider=provider, model=model, source="test", **fields)
    row.valid_from.FromMicroseconds(1)
    await store.add_price(row, None)


@pytest.fixture
async def compare(store: LedgerStore, now: int) -> CompareCosts:
    await add_price(
        store,
        "openai",
        "dear",
        input_nanos_per_million=2 * DOLLAR,
        output_nanos_per_million=10 * DOLLAR,
        steps=[PriceStep(from_prompt_tokens=1_000, input_nanos_per_million=4 * DOLLAR)],
    )
    await add_price(
        store, "together", "cheap", input_nanos_per_million=DOLLAR, output_nanos_per_million=DOLLAR
    )
    await add_price(store, "google", "tbd", input_nanos_per_million=DOLLAR)
    await add_price(store, "local", "*", electricity_nanos_per_kwh=150_000_000)
    return CompareCosts(store, Prices(store, lambda: now), lambda: now)


def local(new_entry: NewEntry, name: str, prompt: int | None, answer: int | None, **fields: Any) -> Entry:
    values: dict[str, Any] = {
        "provider": "local",
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "cost_nanos": 100,
        "electricity_nanos": 60,
        "hardware_nanos": 40,
        "cost_state": COST_STATE_ESTIMATED,
    }
    return new_entry(name, **(values | fields))


async def test_the_same_tokens_at_every_price_each_prompt_at_its_step(
    store: LedgerStore, compare: CompareCosts, new_entry: NewEntry
) -> None:
    entries = [local(new_entry, "short", 999, 10), local(new_entry, "long", 1_000, 10)]
    entries.append(local(new_entry, "unknown", 5, None))
    entries.append(local(new_entry, "cost unknown", 5, 5, cost_nanos=None, state=EntryState.UNKNOWN))
    entries.append(local(new_entry, "stored draw", 5, 5, cost_nanos=0, from_cache=1))
    entries.append(local(new_entry, "voided", 0, 0, cost_nanos=0, state=EntryState.VOIDED))
    entries.append(new_entry("bought", provider="openai", cost_nanos=7, prompt_tokens=1, completion_tokens=1))
    await store.record(entries, [])
    found = await compare(CostFilter(), None)
    lines = {line.label: line for line in found.lines}
    assert {label: line.nanos for label, line in lines.items()} == {
        "local": 200,
        "openai/dear": 999 * 2_000 + 1_000 * 4_000 + 20 * 10_000,
        "together/cheap": 1_999 * 1_000 + 20 * 1_000,
        "google/tbd": None,
    }
    assert lines["local"].formula == "2 recorded attempts: electricity 120 + share of hardware 80"
    assert "2 attempts whose cost or usage is not known" in lines["local"].note
    assert "the cost of 2 attempts is an estimate" in lines["local"].note
    assert lines["openai/dear"].formula == (
        "(999 × 2000000000 + 10 × 10000000000) / 1000000 + (1000 × 4000000000 + 10 × 10000000000) / 1000000"
    )
    assert "google/tbd@" in lines["google/tbd"].note
    assert found.return_months is None


async def test_hardware_is_paid_back_by_what_the_cheapest_would_have_cost_less_electricity(
    store: LedgerStore, compare: CompareCosts, new_entry: NewEntry, now: int
) -> None:
    await store.record([local(new_entry, "a", 900, 100, occurred_at=now - MONTH_US // 2)], [])
    found = await compare(CostFilter(since=now - MONTH_US // 2, until=now + MONTH_US), 2_000_000 * 12)
    saved = 1_000 * 1_000 - 60
    assert found.lines[-1].label == "saved in a month against together/cheap"
    assert found.lines[-1].nanos == 2 * saved
    assert found.return_months == pytest.approx(24_000_000 / (2 * saved))


async def test_what_saves_nothing_is_never_paid_back(
    store: LedgerStore, compare: CompareCosts, new_entry: NewEntry
) -> None:
    await store.record([local(new_entry, "a", 0, 1, electricity_nanos=5_000, cost_nanos=5_040)], [])
    found = await compare(CostFilter(), DOLLAR)
    assert found.return_months is None
    assert (found.lines[-1].nanos or 0) < 0


async def test_without_local_work_nothing_is_compared(
    store: LedgerStore, compare: CompareCosts, new_entry: NewEntry
) -> None:
    await store.record([local(new_entry, "a", 1, 1, tenant="other")], [])
    found = await compare(CostFilter(tenant="t"), DOLLAR)
    (line,) = found.lines
    assert (line.label, line.nanos, found.return_months) == ("local", None, None)
    assert "no local attempt" in line.note
