"""Room in the budgets for a priced leg, before it leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from orchestra.generation.v1 import routing_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb

from ..ports import Leg, Reserve
from .deliveries import Deliveries
from .item import Item
from .stamping import TIERS


@asynccontextmanager
async def reserved(
    reserve: Reserve, item: Item, leg: Leg, deliveries: Deliveries, consumed: Callable[[], bool]
) -> AsyncGenerator[None, None]:
    """Hold room while the leg runs; local legs need none. Given back when nothing was `consumed`.

    What was consumed settles the reservation: the proxy does that. Raises BudgetExceeded and its like, and
    Unavailable when the ledger does not answer: no priced call leaves without.
    """
    if leg.target.local:
        yield
        return
    reservation = await reserve(_wish(item, leg))
    leg.hop.reservation_id = reservation.reservation_id
    try:
        yield
    finally:
        if not consumed():
            deliveries.release(reservation.reservation_id)


def _wish(item: Item, leg: Leg) -> ledger_pb.ReservationWish:
    """The tokens that the leg may take at most: all its samples together, each reading the whole prompt."""
    samples = leg.generation.sampling.n
    wish = ledger_pb.ReservationWish(
        attempt_id=leg.hop.attempt_id,
        tenant=item.tenant,
        run_id=item.generation.run_id,
        phase=item.job.phase,
        provider=leg.target.provider,
        tier=TIERS.get(leg.target.tier, routing_pb2.TIER_UNSPECIFIED),
        model=leg.target.model,
        prompt_tokens=item.job.most_prompt_tokens * samples,
    )
    if item.job.max_tokens is not None:
        wish.max_completion_tokens = item.job.max_tokens * samples
    return wish
