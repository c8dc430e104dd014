"""CostLedgerService: messages in, flows, messages out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as pb_grpc
from orchestra_cost_ledger.domain.report import CostSum
from orchestra_cost_ledger.flows.clock import Clock
from orchestra_cost_ledger.flows.comparing import CompareCosts
from orchestra_cost_ledger.flows.keeping import Budgets, Keys
from orchestra_cost_ledger.flows.pricing import Prices
from orchestra_cost_ledger.flows.recording import RecordUsage
from orchestra_cost_ledger.flows.reserving import Reserve
from orchestra_cost_ledger.ports import LedgerStore, Once, PriceQuery
from orchestra_cost_ledger.rpc import budgets, entries, keys, prices, reports, wishes
from orchestra_cost_ledger.rpc.moments import given_us
from orchestra_errors import Violations
from orchestra_rpc import Page, page_of

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Flows:
    """What the servicer calls."""

    record: RecordUsage
    reserve: Reserve
    compare: CompareCosts
    prices: Prices
    budgets: Budgets
    keys: Keys
    store: LedgerStore
    clock: Clock


class CostLedgerServicer(pb_grpc.CostLedgerServiceServicer):
    def __init__(self, flows: Flows) -> None:
        self._do = flows

    async def Reserve(self, request: pb.ReserveRequest, context: Context) -> pb.ReserveResponse:
        return wishes.to_outcomes(await self._do.reserve(wishes.to_asked(request)))

    async def Settle(self, request: pb.SettleRequest, context: Context) -> pb.SettleResponse:
        found = Violations()
        new = entries.to_entries(request.entries, self._do.clock(), found)
        found.require(bool(new), "entries", "must not be empty")
        for index, entry in enumerate(new):
            found.require(bool(entry.reservation_id), f"entries[{index}].reservation_id", "must be set")
        found.raise_if_any()
        done = await self._do.record(new)
        return pb.SettleResponse(settled=done.recorded, duplicates=done.duplicates)

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        found = Violations()
        found.require(bool(request.reservation_ids), "reservation_ids", "must not be empty")
        found.raise_if_any()
        return pb.ReleaseResponse(released=await self._do.store.release(request.reservation_ids))

    async def LeaseBudget(self, request: pb.LeaseBudgetRequest, context: Context) -> pb.LeaseBudgetResponse:
        found = Violations()
        found.require(bool(request.budget_id), "budget_id", "must be set")
        found.require(bool(request.holder), "holder", "must be set")
        found.require(request.nanos > 0, "nanos", f"must be positive, got {request.nanos}")
        hold_us = given_us(request, "hold")
        found.require(hold_us is None or hold_us > 0, "hold", "must be positive")
        found.raise_if_any()
        lease = await self._do.budgets.lease(
            request.budget_id, request.holder, request.nanos, hold_us, _once(request)
        )
        answer = pb.LeaseBudgetResponse()
        answer.lease.lease_id, answer.lease.budget_id = lease.lease_id, lease.budget_id
        answer.lease.holder, answer.lease.nanos = lease.holder, lease.nanos
        answer.lease.expires_at.FromMicroseconds(lease.expires_at)
        return answer

    async def ReturnLease(self, request: pb.ReturnLeaseRequest, context: Context) -> pb.ReturnLeaseResponse:
        found = Violations()
        found.require(bool(request.lease_id), "lease_id", "must be set")
        spent = request.spent_nanos
        found.require(spent >= 0, "spent_nanos", f"must not be negative, got {spent}")
        found.raise_if_any()
        back = await self._do.budgets.give_back(request.lease_id, spent)
        return pb.ReturnLeaseResponse(returned_nanos=back)

    async def RecordUsage(self, request: pb.RecordUsageRequest, context: Context) -> pb.RecordUsageResponse:
        found = Violations()
        found.require(bool(request.request_id), "request_id", "must be set")
        now = self._do.clock()
        new = entries.to_entries(request.entries, now, found)
        feedback = entries.to_feedback(request.feedback, now, found)
        found.require(bool(new or feedback), "entries", "must not be empty without feedback")
        found.raise_if_any()
        done = await self._do.record(new, feedback)
        return pb.RecordUsageResponse(
            recorded=done.recorded, duplicates=done.duplicates, feedback_recorded=done.feedback
        )

    async def QueryCosts(self, request: pb.QueryCostsRequest, context: Context) -> pb.QueryCostsResponse:
        page = _page(request, [request.filter, list(request.group_by), request.bucket])
        query = reports.to_query(request, page.size + 1, _offset(page))
        rows: list[CostSum] = await self._do.store.query(query)
        return pb.QueryCostsResponse(
            buckets=[reports.from_sum(row, query) for row in rows[: page.size]],
            next_page_token=_next(page, len(rows)),
        )

    async def CreateBudget(
        self, request: pb.CreateBudgetRequest, context: Context
    ) -> pb.CreateBudgetResponse:
        standing = await self._do.budgets.create(budgets.to_new_budget(request.budget), _once(request))
        return pb.CreateBudgetResponse(budget=budgets.from_standing(standing))

    async def GetBudget(self, request: pb.GetBudgetRequest, context: Context) -> pb.GetBudgetResponse:
        _require_id(request.budget_id, "budget_id")
        return pb.GetBudgetResponse(
            budget=budgets.from_standing(await self._do.budgets.get(request.budget_id))
        )

    async def ListBudgets(self, request: pb.ListBudgetsRequest, context: Context) -> pb.ListBudgetsResponse:
        page = _page(request, None)
        found = await self._do.budgets.list(page.cursor, page.size + 1)
        shown = found[: page.size]
        more = page.token(shown[-1].budget.name) if len(found) > page.size else ""
        return pb.ListBudgetsResponse(
            budgets=[budgets.from_standing(standing) for standing in shown], next_page_token=more
        )

    async def UpdateBudget(
        self, request: pb.UpdateBudgetRequest, context: Context
    ) -> pb.UpdateBudgetResponse:
        budget, fields = budgets.to_update(request)
        standing = await self._do.budgets.update(budget, fields, _once(request))
        return pb.UpdateBudgetResponse(budget=budgets.from_standing(standing))

    async def ListPrices(self, request: pb.ListPricesRequest, context: Context) -> pb.ListPricesResponse:
        page = _page(request, [request.at, request.provider, request.model, request.history])
        at = given_us(request, "at")
        query = PriceQuery(
            at=None if request.history else (self._do.clock() if at is None else at),
            provider=request.provider,
            model=request.model,
            limit=page.size + 1,
            offset=_offset(page),
        )
        rows = await self._do.prices.list(query)
        return pb.ListPricesResponse(prices=rows[: page.size], next_page_token=_next(page, len(rows)))

    async def SetPrice(self, request: pb.SetPriceRequest, context: Context) -> pb.SetPriceResponse:
        once = _once(request)
        return pb.SetPriceResponse(price=await self._do.prices.add(prices.to_new_price(request.price), once))

    async def CompareCosts(
        self, request: pb.CompareCostsRequest, context: Context
    ) -> pb.CompareCostsResponse:
        comparison = await self._do.compare(*reports.to_comparison(request))
        return reports.from_comparison(comparison)

    async def Forecast(self, request: pb.ForecastRequest, context: Context) -> pb.ForecastResponse:
        _require_id(request.budget_id, "budget_id")
        return budgets.from_forecast(await self._do.budgets.forecast(request.budget_id))

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Context
    ) -> pb.CreateApiKeyResponse:
        key, secret = await self._do.keys.create(
            keys.to_new_key(request.key, self._do.clock()), _once(request)
        )
        return pb.CreateApiKeyResponse(key=keys.from_key(key), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        page = _page(request, request.tenant)
        found = await self._do.keys.list(request.tenant, page.size + 1, _offset(page))
        return pb.ListApiKeysResponse(
            keys=[keys.from_key(key) for key in found[: page.size]], next_page_token=_next(page, len(found))
        )

    async def RevokeApiKey(
        self, request: pb.RevokeApiKeyRequest, context: Context
    ) -> pb.RevokeApiKeyResponse:
        _require_id(request.key_id, "key_id")
        return pb.RevokeApiKeyResponse(key=keys.from_key(await self._do.keys.revoke(request.key_id)))


def _once(request: Any) -> Once | None:
    """None without a request id: then a repeat is a request of its own."""
    if not request.request_id:
        return None
    message: Message = request
    named = f"{message.DESCRIPTOR.name}\n".encode() + message.SerializeToString(deterministic=True)
    return Once(request.request_id, hashlib.sha256(named).digest())


def _require_id(value: str, field: str) -> None:
    found = Violations()
    found.require(bool(value), field, "must be set")
    found.raise_if_any()


def _page(request: Any, filter: object) -> Page:
    return page_of(request.page_size, request.page_token, filter=filter)


def _offset(page: Page) -> int:
    return int(page.cursor or 0)


def _next(page: Page, rows: int) -> str:
    return page.token(str(_offset(page) + page.size)) if rows > page.size else ""
