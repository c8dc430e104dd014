"""Budgets and forecasts between messages and values."""

from __future__ import annotations

from orchestra.generation.v1 import routing_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.domain.budget import LOCAL, Budget, Standing
from orchestra_cost_ledger.domain.forecast import Forecast
from orchestra_cost_ledger.domain.moment import Period
from orchestra_cost_ledger.rpc.moments import stamp
from orchestra_errors import Violations

_PERIODS = frozenset(period.value for period in Period)
MUTABLE = ("name", "limit_nanos", "hard", "alert_at", "frozen")


def to_new_budget(message: entry_pb2.Budget) -> Budget:
    """Raises InvalidRequest with every violation."""
    found = Violations("budget.")
    _check(message, MUTABLE, found)
    found.require(not message.budget_id, "budget_id", "is made by the ledger")
    found.require(
        message.period in _PERIODS, "period", "must be BUDGET_PERIOD_DAY, _WEEK, _MONTH or _LIFETIME"
    )
    tier = message.match.tier
    found.require(tier in routing_pb2.Tier.values(), "match.tier", f"{tier} is not a tier")
    found.require(
        not message.electricity_only or message.match.provider in ("", LOCAL),
        "match.provider",
        f"must be empty or {LOCAL!r} with electricity_only: only local samples have electricity",
    )
    found.raise_if_any()
    return _budget(message)


def to_update(request: pb.UpdateBudgetRequest) -> tuple[Budget, list[str]]:
    """The budget and the fields to take over. The mask must name something, and only what may change."""
    found = Violations()
    found.require(bool(request.budget.budget_id), "budget.budget_id", "must be set")
    paths = list(dict.fromkeys(request.update_mask.paths))
    found.require(bool(paths), "update_mask", "must name at least one field")
    for path in paths:
        if path in MUTABLE:
            continue
        known = path.partition(".")[0] in entry_pb2.Budget.DESCRIPTOR.fields_by_name
        found.add("update_mask", f"{path!r} {'cannot be changed' if known else 'is not a field of Budget'}")
    checked = Violations()
    _check(request.budget, paths, checked)
    found.extend(checked, "budget.")
    found.raise_if_any()
    return _budget(request.budget), paths


def from_standing(standing: Standing) -> entry_pb2.Budget:
    one = standing.budget
    return entry_pb2.Budget(
        budget_id=one.budget_id,
        name=one.name,
        match=entry_pb2.BudgetMatch(
            tenant=one.tenant,
            run_id=one.run_id,
            provider=one.provider,
            tier=routing_pb2.Tier.ValueType(one.tier),
            phase=one.phase,
        ),
        period=entry_pb2.BudgetPeriod.ValueType(one.period),
        limit_nanos=one.limit_nanos,
        hard=one.hard,
        alert_at=one.alert_at,
        frozen=one.frozen,
        created_at=stamp(one.created_at),
        spent_nanos=standing.spent_nanos,
        reserved_nanos=standing.reserved_nanos,
        period_started_at=stamp(standing.period_started_at or one.created_at),
        period_ends_at=stamp(standing.period_ends_at),
        electricity_only=one.electricity_only,
    )


def from_forecast(forecast: Forecast) -> pb.ForecastResponse:
    return pb.ForecastResponse(
        spent_nanos=forecast.spent_nanos,
        expected_nanos=forecast.expected_nanos,
        period_ends_at=stamp(forecast.period_ends_at),
        limit_reached_at=stamp(forecast.limit_reached_at),
        method=forecast.method,
    )


def _check(message: entry_pb2.Budget, fields: list[str] | tuple[str, ...], found: Violations) -> None:
    if "name" in fields:
        found.require(0 < len(message.name) <= 128, "name", "must be 1 to 128 characters")
    if "limit_nanos" in fields:
        limit = message.limit_nanos
        found.require(limit >= 0, "limit_nanos", f"must not be negative, got {limit}")
    if "alert_at" in fields:
        right = all(0 < share <= 10 for share in message.alert_at)
        found.require(right, "alert_at", "must be shares above 0, for example 0.8")


def _budget(message: entry_pb2.Budget) -> Budget:
    match = message.match
    return Budget(
        budget_id=message.budget_id,
        name=message.name,
        tenant=match.tenant,
        run_id=match.run_id,
        provider=match.provider,
        tier=match.tier,
        phase=match.phase,
        period=Period(message.period) if message.period in _PERIODS else Period.LIFETIME,
        limit_nanos=message.limit_nanos,
        hard=message.hard,
        alert_at=tuple(sorted(set(message.alert_at))),
        frozen=message.frozen,
        created_at=0,
        electricity_only=message.electricity_only,
    )
