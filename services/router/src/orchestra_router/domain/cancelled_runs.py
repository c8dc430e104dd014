"""Which runs were cancelled; bounded, the oldest are forgotten first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cancellation:
    """`at`: seconds of Unix time."""

    run_id: str
    tenant: str
    reason: str
    at: float


class CancelledRuns:
    """Kept by this replica alone, in memory, at most `limit` of them."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._known: dict[tuple[str, str], Cancellation] = {}

    def add(self, cancellation: Cancellation) -> Cancellation:
        """Note it; the first cancellation of a run stays."""
        key = (cancellation.tenant, cancellation.run_id)
        known = self._known.setdefault(key, cancellation)
        while len(self._known) > self._limit:
            del self._known[next(iter(self._known))]
        return known

    def get(self, tenant: str, run_id: str) -> Cancellation | None:
        return self._known.get((tenant, run_id))
