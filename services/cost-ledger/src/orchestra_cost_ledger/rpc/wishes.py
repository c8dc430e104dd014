"""Reservations between messages and values."""

from __future__ import annotations

from collections.abc import Iterable

from orchestra.generation.v1 import routing_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.domain.entry import Dimensions
from orchestra_cost_ledger.domain.reservation import Held, Outcome
from orchestra_cost_ledger.flows.reserving import Asked
from orchestra_cost_ledger.rpc.moments import given_us, stamp
from orchestra_errors import Violations

MOST_WISHES = 1_024


def to_asked(request: pb.ReserveRequest) -> list[Asked]:
    """Raises InvalidRequest with every violation of every wish."""
    found = Violations()
    found.require(
        0 < len(request.wishes) <= MOST_WISHES,
        "wishes",
        f"must be 1 to {MOST_WISHES}, got {len(request.wishes)}",
    )
    asked = [_asked(wish, f"wishes[{index}].", found) for index, wish in enumerate(request.wishes)]
    found.raise_if_any()
    return asked


def _asked(wish: pb.ReservationWish, prefix: str, found: Violations) -> Asked:
    tokens = [wish.HasField(name) for name in ("prompt_tokens", "max_completion_tokens")]
    bounded = wish.HasField("max_nanos")
    found.require(bool(wish.attempt_id), f"{prefix}attempt_id", "must be set")
    found.require(bool(wish.provider), f"{prefix}provider", "must be set")
    found.require(bool(wish.model), f"{prefix}model", "must be set")
    known_tier = wish.tier in routing_pb2.Tier.values()
    found.require(known_tier, f"{prefix}tier", f"{wish.tier} is not a tier")
    found.require(
        bounded or all(tokens),
        f"{prefix}max_nanos",
        "must be set, or prompt_tokens and max_completion_tokens",
    )
    for name in ("max_nanos", "prompt_tokens", "max_completion_tokens"):
        found.require(getattr(wish, name) >= 0, f"{prefix}{name}", "must not be negative")
    hold_us = given_us(wish, "hold")
    found.require(hold_us is None or hold_us > 0, f"{prefix}hold", "must be positive")
    return Asked(
        wish.attempt_id,
        Dimensions(wish.tenant, wish.run_id, wish.provider, wish.tier, wish.phase),
        wish.model,
        wish.max_nanos if bounded else None,
        wish.prompt_tokens,
        wish.max_completion_tokens,
        hold_us,
        wish.batch_job,
    )


def to_outcomes(outcomes: Iterable[Outcome]) -> pb.ReserveResponse:
    return pb.ReserveResponse(outcomes=[_outcome(outcome) for outcome in outcomes])


def _outcome(outcome: Outcome) -> pb.ReservationOutcome:
    if isinstance(outcome, Held):
        return pb.ReservationOutcome(
            reservation=entry_pb2.Reservation(
                reservation_id=outcome.reservation_id,
                attempt_id=outcome.attempt_id,
                nanos=outcome.nanos,
                expires_at=stamp(outcome.expires_at),
                price_version=outcome.price_version,
            )
        )
    return pb.ReservationOutcome(
        refusal=pb.ReservationRefusal(
            reason=outcome.reason,
            budget_id=outcome.standing.budget.budget_id,
            budget_name=outcome.standing.budget.name,
            needed_nanos=outcome.needed_nanos,
            left_nanos=outcome.standing.left_nanos,
            message=outcome.error.message,
        )
    )
