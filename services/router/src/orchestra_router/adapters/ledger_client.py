"""The cost-ledger over gRPC."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_errors import (
    BudgetExceeded,
    BudgetFrozen,
    FailedPrecondition,
    OrchestraError,
    PriceUnknown,
    Unavailable,
)
from orchestra_rpc import call_unary

if TYPE_CHECKING:
    from orchestra.ledger.v1.cost_ledger_service_pb2_grpc import CostLedgerServiceAsyncStub

log = structlog.get_logger()
_BACK_OFF_S = 1.0


class LedgerClient:
    """Implements the port Ledger. `budget_s` bounds what a reservation may delay a request."""

    def __init__(self, stub: CostLedgerServiceAsyncStub, budget_s: float) -> None:
        self._stub = stub
        self._budget_s = budget_s

    async def reserve_many(
        self, wishes: Sequence[pb.ReservationWish]
    ) -> Sequence[entry_pb2.Reservation | OrchestraError]:
        request = pb.ReserveRequest(request_id=str(uuid.uuid4()), wishes=wishes)
        try:
            answer = await call_unary(self._stub.Reserve(request, timeout=self._budget_s))
        except OrchestraError as error:
            log.info("no reservation", reason=error.reason)
            raise Unavailable("the cost-ledger, without which no priced call leaves", _BACK_OFF_S) from error
        return [
            outcome.reservation if outcome.HasField("reservation") else _refused(outcome.refusal, wish)
            for outcome, wish in zip(answer.outcomes, wishes, strict=True)
        ]

    async def release(self, reservation_ids: Sequence[str]) -> None:
        request = pb.ReleaseRequest(request_id=str(uuid.uuid4()), reservation_ids=reservation_ids)
        await call_unary(self._stub.Release(request, timeout=self._budget_s))

    async def record_feedback(self, request_id: str, feedback: Sequence[entry_pb2.Feedback]) -> int:
        request = pb.RecordUsageRequest(request_id=request_id, feedback=feedback)
        answer = await call_unary(self._stub.RecordUsage(request))
        return answer.feedback_recorded

    async def costs(self, request: pb.QueryCostsRequest) -> pb.QueryCostsResponse:
        return await call_unary(self._stub.QueryCosts(request))


def _refused(refusal: pb.ReservationRefusal, wish: pb.ReservationWish) -> OrchestraError:
    budget = refusal.budget_name or refusal.budget_id
    match refusal.reason:
        case "BUDGET_EXCEEDED":
            left = refusal.left_nanos if refusal.HasField("left_nanos") else 0
            return BudgetExceeded(budget, refusal.needed_nanos, left)
        case "BUDGET_FROZEN":
            return BudgetFrozen(budget)
        case "PRICE_UNKNOWN":
            return PriceUnknown(wish.provider, wish.model, budget)
    return FailedPrecondition(budget or "the budget", refusal.message or refusal.reason)
