"""Budgets, prices and keys: repeats change nothing, history stays, secrets are not kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra.ledger.v1.entry_pb2 import Price, PriceStep
from orchestra_cost_ledger.domain.api_key import ApiKey, fingerprint, new_secret
from orchestra_cost_ledger.domain.budget import Budget
from orchestra_cost_ledger.ports import LedgerStore, Once, PriceQuery
from orchestra_errors import AlreadyExists, NotFound

NewBudget = Callable[..., Budget]


def price(model: str, valid_from: int, **fields: object) -> Price:
    row = Price(provider="openai", model=model, source="test", **fields)
    row.valid_from.FromMicroseconds(valid_from)
    return row


def rows(at: int | None, **wanted: object) -> PriceQuery:
    values: dict[str, object] = {"provider": "", "model": "", "limit": 50, "offset": 0}
    return PriceQuery(at=at, **(values | wanted))  # type: ignore[arg-type]


async def test_a_repeated_request_creates_one_budget(
    store: LedgerStore, new_budget: NewBudget, now: int
) -> None:
    once = Once("r1", b"payload")
    first = await store.create_budget(new_budget("b", 10), now, once)
    again = await store.create_budget(new_budget("b", 10, budget_id="another"), now, once)
    assert again.budget == first.budget
    with pytest.raises(AlreadyExists, match="another payload"):
        await store.create_budget(new_budget("c", 10), now, Once("r1", b"other"))
    with pytest.raises(AlreadyExists, match="'b'"):
        await store.create_budget(new_budget("b", 10, budget_id="another"), now, None)


async def test_an_update_takes_over_what_it_names(
    store: LedgerStore, new_budget: NewBudget, now: int
) -> None:
    await store.create_budget(new_budget("b", 10, alert_at=(0.8,)), now, None)
    wanted = new_budget("b", 99, hard=False, alert_at=())
    changed = await store.update_budget(wanted, ["limit_nanos"], now, None)
    assert (changed.budget.limit_nanos, changed.budget.hard, changed.budget.alert_at) == (99, True, (0.8,))
    assert (await store.budget("id-b", now)).budget == changed.budget
    with pytest.raises(NotFound):
        await store.update_budget(new_budget("none", 1), ["limit_nanos"], now, None)


async def test_prices_keep_their_history(store: LedgerStore, now: int) -> None:
    old = await store.add_price(
        price(
            "gpt",
            now - 10,
            input_nanos_per_million=0,
            batch_factor=0.5,
            steps=[
                PriceStep(from_prompt_tokens=5, output_nanos_per_million=7, cached_input_nanos_per_million=3)
            ],
        ),
        None,
    )
    new = await store.add_price(price("gpt", now, input_nanos_per_million=2), None)
    later = await store.add_price(price("gpt", now + 10), None)
    assert await store.add_price(price("gpt", now + 10), None) == later
    assert await store.prices(rows(now - 11)) == []
    assert await store.prices(rows(now - 1)) == [old]
    assert await store.prices(rows(now)) == [new]
    assert await store.prices(rows(None, model="gpt")) == [later, new, old]
    assert await store.prices(rows(None, limit=1, offset=1)) == [new]
    assert not new.HasField("output_nanos_per_million")
    assert old.HasField("input_nanos_per_million")


async def test_seeds_come_in_once_and_leave_what_was_set_by_hand(
    store: LedgerStore, new_budget: NewBudget, now: int
) -> None:
    said = [new_budget("b", 10)], [Price(provider="p", model="m", source="file", input_nanos_per_million=1)]
    assert await store.seed(*said, now) == (1, 1)
    assert await store.seed([new_budget("b", 10, budget_id="x")], said[1], now + 1) == (0, 0)
    await store.update_budget(new_budget("b", 77), ["limit_nanos"], now, None)
    await store.seed(*said, now + 2)
    assert (await store.budget("id-b", now)).budget.limit_nanos == 77
    changed = [Price(provider="p", model="m", source="file", input_nanos_per_million=2)]
    assert await store.seed([new_budget("b", 20)], changed, now + 3) == (1, 1)
    assert (await store.budget("id-b", now)).budget.limit_nanos == 20
    history = await store.prices(rows(None))
    assert [row.input_nanos_per_million for row in history] == [2, 1]
    assert [row.valid_from.ToMicroseconds() for row in history] == [now + 3, now]


async def test_keys_are_kept_as_hashes(store: LedgerStore, tmp_path: Path, now: int) -> None:
    secret = new_secret()
    key = ApiKey("k1", "trainer", "t", ("generate",), (), (), now)
    assert await store.add_key(key, fingerprint(secret), Once("r", b"p")) == (key, True)
    assert await store.add_key(key, fingerprint(new_secret()), Once("r", b"p")) == (key, False)
    assert await store.keys("t", 10, 0) == [key]
    assert await store.keys("other", 10, 0) == []
    revoked = await store.revoke_key("k1", now + 1)
    assert revoked.revoked_at == now + 1
    assert (await store.revoke_key("k1", now + 2)).revoked_at == now + 1
    with pytest.raises(NotFound):
        await store.revoke_key("k2", now)
    with pytest.raises(NotFound):
        await store.add_key(ApiKey("k3", "n", "t", (), (), ("no budget",), now), b"h", None)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in on_disk
