"""What the configuration says about money, in the ledger's own words."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from orchestra.generation.v1 import routing_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting import ANY_MODEL
from orchestra_config import Budget as BudgetText
from orchestra_config import Config, Electricity, Price
from orchestra_cost_ledger.domain.budget import Budget
from orchestra_cost_ledger.domain.moment import Period

_TOKENS = 1_000_000
_TIERS = {
    None: routing_pb2.TIER_UNSPECIFIED,
    "local": routing_pb2.TIER_LOCAL,
    "together": routing_pb2.TIER_SELECTIVE,
    "premium": routing_pb2.TIER_PREMIUM,
}
_PERIODS = {"day": Period.DAY, "week": Period.WEEK, "month": Period.MONTH, "lifetime": Period.LIFETIME}


def budgets_of(config: Config, now: int) -> list[Budget]:
    """One budget per limit: an entry with a soft and a hard limit becomes `NAME (soft)` and `NAME`."""
    return [budget for text in config.budgets for budget in _budgets(text, now)]


def prices_of(prices: Iterable[Price], electricity: Electricity) -> list[entry_pb2.Price]:
    """Rows without a date of their own; the tariff is the row of every local model."""
    rows = [_price(price) for price in prices]
    if electricity.per_kwh is not None:
        rows.append(
            entry_pb2.Price(
                provider="local",
                model=ANY_MODEL,
                electricity_nanos_per_kwh=electricity.per_kwh,
                source=electricity.source,
            )
        )
    return rows


def _budgets(text: BudgetText, now: int) -> Sequence[Budget]:
    limits = [(text.name, text.hard, True)] if text.hard is not None else []
    if text.soft is not None:
        limits.append((f"{text.name} (soft)" if limits else text.name, text.soft, False))
    return [
        Budget(
            budget_id=uuid.uuid4().hex,
            name=name,
            tenant=text.tenant or "",
            run_id=text.run or "",
            provider=text.provider or "",
            tier=_TIERS[text.tier],
            phase=text.phase or "",
            period=_PERIODS[text.period],
            limit_nanos=limit,
            hard=hard,
            alert_at=text.alert_at,
            frozen=False,
            created_at=now,
            electricity_only=text.electricity,
        )
        for name, limit, hard in limits
    ]


def _price(price: Price) -> entry_pb2.Price:
    row = entry_pb2.Price(
        provider=price.provider,
        model=price.model,
        input_nanos_per_million=_per_million(price.input),
        output_nanos_per_million=_per_million(price.output),
        cached_input_nanos_per_million=_per_million(price.cached_input),
        cache_write_nanos_per_million=_per_million(price.cache_write),
        reasoning_nanos_per_million=_per_million(price.reasoning),
        # 0 says that nothing is known of a discount, not that there is none
        batch_factor=1.0 - price.batch_discount if price.batch_discount else None,
        source=price.source,
        steps=[
            entry_pb2.PriceStep(
                from_prompt_tokens=step.above_prompt_tokens + 1,
                input_nanos_per_million=_per_million(step.input),
                output_nanos_per_million=_per_million(step.output),
                cached_input_nanos_per_million=_per_million(step.cached_input),
            )
            for step in price.steps
        ],
    )
    if price.checked_on is not None:
        row.checked_on.FromDatetime(_midnight(price.checked_on))
    return row


def _per_million(nanos: int | None) -> int | None:
    return None if nanos is None else nanos * _TOKENS


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
