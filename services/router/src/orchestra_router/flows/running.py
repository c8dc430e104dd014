"""The items that run here, by run: what CancelRun ends and GetRun counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestra_errors import RunCancelled

from ..domain.cancelled_runs import Cancellation, CancelledRuns
from .item import Item

Run = tuple[str, str]
"""Tenant and run id."""


class Running:
    """Of this replica alone: replicas do not share cancellations yet."""

    def __init__(self, cancelled: CancelledRuns) -> None:
        self._cancelled = cancelled
        self._items: dict[Run, set[Item]] = {}

    @contextmanager
    def hold(self, item: Item) -> Iterator[None]:
        run = (item.tenant, item.generation.run_id)
        self._items.setdefault(run, set()).add(item)
        try:
            yield
        finally:
            left = self._items[run]
            left.discard(item)
            if not left:
                del self._items[run]

    def count(self, tenant: str, run_id: str) -> int:
        return len(self._items.get((tenant, run_id), ()))

    def runs(self, tenant: str) -> list[str]:
        """Ids of the runs that have something running."""
        return sorted(run_id for owner, run_id in self._items if owner == tenant and run_id)

    def cancelled(self, tenant: str, run_id: str) -> Cancellation | None:
        return self._cancelled.get(tenant, run_id)

    def cancel(self, cancellation: Cancellation) -> tuple[Cancellation, int]:
        """Refuse the run from now on and stop what runs; gives the standing cancellation and how many were
        stopped."""
        known = self._cancelled.add(cancellation)
        items = self._items.get((cancellation.tenant, cancellation.run_id), ())
        stopping = [item for item in items if item.stopped is None]
        for item in stopping:
            item.stop(RunCancelled(cancellation.run_id))
        return known, len(stopping)
