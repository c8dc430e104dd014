"""Holds: what keeps placements off a node or some of its devices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hold:
    """No `device_ids`: the whole node. `ends_at` and `since` are seconds since the epoch; None: until ended.

    A drain also asks for what is there to leave; a cordon only refuses what is new.
    """

    node_id: str
    device_ids: tuple[str, ...]
    drain: bool
    reason: str
    since: float
    ends_at: float | None = None

    def covers(self, node_id: str, device_ids: Iterable[str]) -> bool:
        """Whether a placement there would touch what is held. No devices named means any of the node's."""
        if node_id != self.node_id:
            return False
        wanted = set(device_ids)
        return not self.device_ids or not wanted or bool(wanted & set(self.device_ids))

    def active(self, now: float) -> bool:
        return self.since <= now and (self.ends_at is None or now < self.ends_at)


def held_by(
    holds: Iterable[Hold], node_id: str, device_ids: Iterable[str], now: float, *, drain_only: bool = False
) -> Hold | None:
    """The first active hold that a placement there would touch."""
    devices = tuple(device_ids)
    for hold in holds:
        if hold.active(now) and hold.covers(node_id, devices) and (hold.drain or not drain_only):
            return hold
    return None


def ended_at(holds: Iterable[Hold], now: float) -> tuple[Hold, ...]:
    """Holds whose end has passed."""
    return tuple(hold for hold in holds if hold.ends_at is not None and hold.ends_at <= now)
