"""The contract, spoken to the real process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from orchestra.generation.v1.routing_pb2 import TIER_SELECTIVE
from orchestra.generation.v1.usage_pb2 import COST_STATE_SETTLED, Cost, Usage
from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1.entry_pb2 import (
    BUDGET_PERIOD_DAY,
    BUDGET_PERIOD_LIFETIME,
    ENTRY_STATE_SETTLED,
    ApiKey,
    Budget,
    BudgetMatch,
    Feedback,
    Price,
    UsageEntry,
)
from orchestra_errors import (
    AlreadyExists,
    BudgetExceeded,
    BudgetFrozen,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
)
from orchestra_rpc import call_unary, open_channel


def usage(attempt_id: str, nanos: int = 7, **fields: Any) -> UsageEntry:
    return UsageEntry(
        attempt_id=attempt_id,
        tenant="t",
        run_id="run",
        provider="openai",
        model="gpt-4o",
        state=ENTRY_STATE_SETTLED,
        cost=Cost(state=COST_STATE_SETTLED, nanos=nanos),
        usage=Usage(prompt_tokens=3, completion_tokens=4),
        **fields,
    )


async def budget_of(ledger: Any, name: str, limit: int, **fields: Any) -> Budget:
    wanted = Budget(name=name, limit_nanos=limit, **({"period": BUDGET_PERIOD_DAY, "hard": True} | fields))
    made = await call_unary(ledger.stub.CreateBudget(pb.CreateBudgetRequest(budget=wanted)))
    return made.budget


async def test_500_reservations_of_three_clients_against_room_for_100(ledger: Any) -> None:
    budget = await budget_of(ledger, "b", 1_000, match=BudgetMatch(provider="openai"))
    channels = [open_channel(ledger.address) for _ in range(3)]
    stubs = [type(ledger.stub)(channel) for channel in channels]

    async def reserve(number: int) -> bool:
        wish = pb.ReservationWish(
            attempt_id=f"r/{number}/1", tenant="t", provider="openai", model="gpt-4o", max_nanos=10
        )
        answer = await call_unary(stubs[number % 3].Reserve(pb.ReserveRequest(wishes=[wish])))
        return answer.outcomes[0].HasField("reservation")

    admitted = await asyncio.gather(*(reserve(number) for number in range(500)))
    assert sum(admitted) == 100
    left = (await call_unary(ledger.stub.GetBudget(pb.GetBudgetRequest(budget_id=budget.budget_id)))).budget
    assert (left.reserved_nanos, left.spent_nanos) == (1_000, 0)
    for channel in channels:
        await channel.close()


async def test_reserve_by_tokens_then_settle(ledger: Any) -> None:
    wish = pb.ReservationWish(
        attempt_id="r/0/1", provider="openai", model="gpt-4o", prompt_tokens=100, max_completion_tokens=50
    )
    (outcome,) = (await call_unary(ledger.stub.Reserve(pb.ReserveRequest(wishes=[wish])))).outcomes
    held = outcome.reservation
    assert 200_000 <= held.nanos <= 200_002
    assert held.price_version.startswith("openai/gpt-4o@")
    entry = usage("r/0/1", 150_000, reservation_id=held.reservation_id)
    settle = pb.SettleRequest(request_id="s", entries=[entry])
    assert (await call_unary(ledger.stub.Settle(settle))).settled == 1
    assert (await call_unary(ledger.stub.Settle(settle))).duplicates == 1
    release = pb.ReleaseRequest(reservation_ids=[held.reservation_id])
    assert (await call_unary(ledger.stub.Release(release))).released == 0


async def test_an_unknown_price_is_refused_under_the_papers_hard_budget(ledger: Any) -> None:
    wish = pb.ReservationWish(
        attempt_id="a",
        provider="together",
        model="deepseek-r1",
        tier=TIER_SELECTIVE,
        prompt_tokens=1,
        max_completion_tokens=1,
    )
    (outcome,) = (await call_unary(ledger.stub.Reserve(pb.ReserveRequest(wishes=[wish])))).outcomes
    assert (outcome.refusal.reason, outcome.refusal.budget_name) == ("PRICE_UNKNOWN", "together")


async def test_an_unknown_price_is_admitted_without_nanos_where_no_hard_budget_bounds_it(ledger: Any) -> None:
    wish = pb.ReservationWish(
        attempt_id="a", provider="openai", model="unheard-of", prompt_tokens=1, max_completion_tokens=1
    )
    (outcome,) = (await call_unary(ledger.stub.Reserve(pb.ReserveRequest(wishes=[wish])))).outcomes
    assert outcome.reservation.reservation_id
    assert not outcome.reservation.HasField("nanos")
    wish.attempt_id, wish.max_nanos = "b", 0
    (free,) = (await call_unary(ledger.stub.Reserve(pb.ReserveRequest(wishes=[wish])))).outcomes
    assert free.reservation.HasField("nanos")


async def test_a_frozen_budget_says_that_it_is_frozen(ledger: Any) -> None:
    budget = await budget_of(ledger, "b", 100, match=BudgetMatch(provider="openai"), frozen=True)
    wish = pb.ReservationWish(attempt_id="a", provider="openai", model="gpt-4o", max_nanos=1)
    (outcome,) = (await call_unary(ledger.stub.Reserve(pb.ReserveRequest(wishes=[wish])))).outcomes
    assert (outcome.refusal.reason, outcome.refusal.message) == ("BUDGET_FROZEN", "budget 'b' is frozen")
    lease = pb.LeaseBudgetRequest(budget_id=budget.budget_id, holder="router-1", nanos=1)
    with pytest.raises(BudgetFrozen) as caught:
        await call_unary(ledger.stub.LeaseBudget(lease))
    assert caught.value.metadata == {"budget": "b"}


async def test_a_budget_of_electricity_is_made_shown_and_counted_as_such(ledger: Any) -> None:
    made = await budget_of(ledger, "power", 100, electricity_only=True)
    assert made.electricity_only
    entry = usage("r/0/1", 50)
    entry.provider, entry.cost.electricity_nanos, entry.usage.cache_write_tokens = "local", 20, 1
    await call_unary(ledger.stub.RecordUsage(pb.RecordUsageRequest(request_id="q", entries=[entry])))
    seen = (await call_unary(ledger.stub.GetBudget(pb.GetBudgetRequest(budget_id=made.budget_id)))).budget
    assert (seen.electricity_only, seen.spent_nanos) == (True, 20)
    update = pb.UpdateBudgetRequest(budget=seen, update_mask=FieldMask(paths=["electricity_only"]))
    with pytest.raises(InvalidRequest, match="cannot be changed"):
        await call_unary(ledger.stub.UpdateBudget(update))
    with pytest.raises(InvalidRequest, match="only local samples have electricity"):
        await budget_of(ledger, "no", 1, electricity_only=True, match=BudgetMatch(provider="openai"))


async def test_usage_is_reported_by_run_and_model(ledger: Any) -> None:
    entries = [usage(f"r/{number}/1", number, sample_id=f"s{number}") for number in range(5)]
    entries.append(usage("r/9/1"))
    entries[-1].ClearField("cost")
    judged = [Feedback(sample_id="s1", tenant="t", accepted=True)]
    record = pb.RecordUsageRequest(request_id="q", entries=entries, feedback=judged)
    answer = await call_unary(ledger.stub.RecordUsage(record))
    assert (answer.recorded, answer.duplicates, answer.feedback_recorded) == (6, 0, 1)
    ask = pb.QueryCostsRequest(filter=pb.CostFilter(run_id="run"), group_by=["run", "model", "state"])
    (row,) = (await call_unary(ledger.stub.QueryCosts(ask))).buckets
    assert list(row.keys) == ["run", "gpt-4o", "ENTRY_STATE_SETTLED"]
    assert (row.attempts, row.cost_nanos, row.attempts_of_unknown_cost) == (6, 10, 1)
    assert (row.prompt_tokens, row.completion_tokens, row.accepted_samples) == (18, 24, 1)


async def test_reports_come_in_pages_of_one_filter(ledger: Any) -> None:
    entries = [usage(f"r/{number}/1", labels={"n": str(number)}) for number in range(5)]
    await call_unary(ledger.stub.RecordUsage(pb.RecordUsageRequest(request_id="q", entries=entries)))
    ask = pb.QueryCostsRequest(group_by=["label:n"], page_size=2)
    seen: list[str] = []
    while True:
        page = await call_unary(ledger.stub.QueryCosts(ask))
        seen += [row.keys[0] for row in page.buckets]
        if not page.next_page_token:
            break
        ask.page_token = page.next_page_token
    assert seen == ["0", "1", "2", "3", "4"]
    ask.group_by.append("model")
    with pytest.raises(InvalidRequest, match="another filter"):
        await call_unary(ledger.stub.QueryCosts(ask))


async def test_every_violation_is_named_at_once(ledger: Any) -> None:
    bad = pb.RecordUsageRequest(entries=[UsageEntry(usage=Usage(prompt_tokens=-1)), usage("ok")])
    with pytest.raises(InvalidRequest) as caught:
        await call_unary(ledger.stub.RecordUsage(bad))
    assert {violation.field for violation in caught.value.violations} == {
        "request_id",
        "entries[0].attempt_id",
        "entries[0].state",
        "entries[0].usage.prompt_tokens",
    }
    ask = pb.QueryCostsRequest(group_by=["colour"], filter=pb.CostFilter(tier=9))
    with pytest.raises(InvalidRequest) as caught:
        await call_unary(ledger.stub.QueryCosts(ask))
    assert {violation.field for violation in caught.value.violations} == {"group_by", "filter.tier"}


async def test_an_update_names_what_it_changes(ledger: Any) -> None:
    budget = await budget_of(ledger, "b", 10)
    update = pb.UpdateBudgetRequest(
        budget=Budget(budget_id=budget.budget_id, limit_nanos=20, frozen=True),
        update_mask=FieldMask(paths=["limit_nanos", "frozen"]),
    )
    changed = (await call_unary(ledger.stub.UpdateBudget(update))).budget
    assert (changed.limit_nanos, changed.frozen, changed.name, changed.hard) == (20, True, "b", True)
    for paths, words in (
        ([], "at least one"),
        (["spent_nanos"], "cannot be changed"),
        (["colour"], "not a field"),
    ):
        update.update_mask.CopyFrom(FieldMask(paths=paths))
        with pytest.raises(InvalidRequest, match=words):
            await call_unary(ledger.stub.UpdateBudget(update))
    with pytest.raises(NotFound):
        await call_unary(ledger.stub.GetBudget(pb.GetBudgetRequest(budget_id="none")))


async def test_a_request_id_stands_for_one_payload(ledger: Any) -> None:
    wanted = Budget(name="b", period=BUDGET_PERIOD_DAY, limit_nanos=1)
    create = pb.CreateBudgetRequest(request_id="r", budget=wanted)
    first = (await call_unary(ledger.stub.CreateBudget(create))).budget
    assert (await call_unary(ledger.stub.CreateBudget(create))).budget.budget_id == first.budget_id
    create.budget.limit_nanos = 2
    with pytest.raises(AlreadyExists):
        await call_unary(ledger.stub.CreateBudget(create))


async def test_prices_are_added_and_listed(ledger: Any) -> None:
    row = Price(provider="openai", model="gpt-4o", input_nanos_per_million=5, source="test")
    made = (await call_unary(ledger.stub.SetPrice(pb.SetPriceRequest(price=row)))).price
    ask = pb.ListPricesRequest(provider="openai", model="gpt-4o")
    (holds,) = (await call_unary(ledger.stub.ListPrices(ask))).prices
    assert holds == made
    assert not holds.HasField("output_nanos_per_million")
    ask.history = True
    assert len((await call_unary(ledger.stub.ListPrices(ask))).prices) == 2
    (tariff,) = (await call_unary(ledger.stub.ListPrices(pb.ListPricesRequest(provider="local")))).prices
    assert (tariff.model, tariff.electricity_nanos_per_kwh) == ("*", 150_000_000)
    with pytest.raises(InvalidRequest) as caught:
        await call_unary(ledger.stub.SetPrice(pb.SetPriceRequest(price=Price(input_nanos_per_million=-1))))
    assert len(caught.value.violations) == 4


async def test_leases(ledger: Any) -> None:
    budget = await budget_of(ledger, "b", 100)
    ask = pb.LeaseBudgetRequest(request_id="l", budget_id=budget.budget_id, holder="router-1", nanos=80)
    lease = (await call_unary(ledger.stub.LeaseBudget(ask))).lease
    assert (await call_unary(ledger.stub.LeaseBudget(ask))).lease == lease
    with pytest.raises(BudgetExceeded) as caught:
        await call_unary(
            ledger.stub.LeaseBudget(
                pb.LeaseBudgetRequest(budget_id=budget.budget_id, holder="router-2", nanos=30)
            )
        )
    assert (caught.value.needed_nanos, caught.value.left_nanos) == (30, 20)
    back = pb.ReturnLeaseRequest(lease_id=lease.lease_id, spent_nanos=0)
    assert (await call_unary(ledger.stub.ReturnLease(back))).returned_nanos == 80


async def test_a_key_is_shown_once(ledger: Any) -> None:
    create = pb.CreateApiKeyRequest(request_id="k", key=ApiKey(name="trainer", tenant="t"))
    made = await call_unary(ledger.stub.CreateApiKey(create))
    assert len(made.secret) > 40
    again = await call_unary(ledger.stub.CreateApiKey(create))
    assert (again.key, again.secret) == (made.key, "")
    revoke = pb.RevokeApiKeyRequest(key_id=made.key.key_id)
    revoked = (await call_unary(ledger.stub.RevokeApiKey(revoke))).key
    (listed,) = (await call_unary(ledger.stub.ListApiKeys(pb.ListApiKeysRequest(tenant="t")))).keys
    assert listed == revoked
    assert listed.HasField("revoked_at")


async def test_forecasts_say_how_and_lifetimes_have_none(ledger: Any) -> None:
    budget = await budget_of(ledger, "b", 100)
    found = await call_unary(ledger.stub.Forecast(pb.ForecastRequest(budget_id=budget.budget_id)))
    assert (found.spent_nanos, found.expected_nanos) == (0, 0)
    assert found.method
    assert not found.HasField("limit_reached_at")
    lifetime = await budget_of(ledger, "l", 100, period=BUDGET_PERIOD_LIFETIME)
    with pytest.raises(FailedPrecondition):
        await call_unary(ledger.stub.Forecast(pb.ForecastRequest(budget_id=lifetime.budget_id)))


async def test_local_work_is_compared_with_the_price_book(ledger: Any) -> None:
    entry = usage("r/0/1", 50)
    entry.provider, entry.cost.electricity_nanos = "local", 50
    await call_unary(ledger.stub.RecordUsage(pb.RecordUsageRequest(request_id="q", entries=[entry])))
    ask = pb.CompareCostsRequest(hardware_nanos=10**12)
    found = await call_unary(ledger.stub.CompareCosts(ask))
    nanos = {line.label: line.nanos for line in found.lines}
    assert nanos["local"] == 50
    assert nanos["openai/gpt-4o"] == 3 * 1_000 + 4 * 2_000
    assert found.HasField("return_months")
    assert all(line.formula for line in found.lines)
    ask = pb.CompareCostsRequest(filter=pb.CostFilter(provider="openai"), hardware_nanos=0)
    with pytest.raises(InvalidRequest) as caught:
        await call_unary(ledger.stub.CompareCosts(ask))
    assert {violation.field for violation in caught.value.violations} == {"filter.provider", "hardware_nanos"}


async def test_a_clean_stop_is_a_clean_exit(ledger: Any) -> None:
    assert await ledger.stop() == 0


async def test_a_store_that_cannot_be_used_is_one_clear_line(refused_start: Callable[..., Any]) -> None:
    code, printed = await refused_start('ledger: {url: "postgresql://db/ledger"}')
    last = printed.strip().splitlines()[-1]
    assert code == 1
    assert last.startswith("cost-ledger: ledger.url names postgresql, which this build cannot use yet")
    assert "Traceback" not in printed
    code, printed = await refused_start("", ORCHESTRA_METRICS_PORT="70000", ORCHESTRA_LOG_LEVEL="loud")
    assert code == 1
    assert "ORCHESTRA_METRICS_PORT: " in printed
    assert "ORCHESTRA_LOG_LEVEL: " in printed
    assert "Traceback" not in printed
    code, printed = await refused_start("", ORCHESTRA_STATE_DIR="/proc/nowhere")
    assert code == 1
    assert "Traceback" not in printed
