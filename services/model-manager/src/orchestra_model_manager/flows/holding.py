"""Cordons and drains of nodes and devices."""

from __future__ import annotations

from dataclasses import replace

from orchestra_errors import NotFound, Violations
from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.keeping import Kept
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.ports import Clock


class Holding:
    def __init__(self, fleet: Fleet, registry: Registry, kept: Kept, wall: Clock) -> None:
        self._fleet = fleet
        self._registry = registry
        self._kept = kept
        self._wall = wall

    async def hold(
        self, node_id: str, device_ids: tuple[str, ...], drain: bool, reason: str, ends_at: float | None
    ) -> tuple[Hold, tuple[str, ...]]:
        """The hold, and the models that it makes leave (none for a cordon).

        A repeat replaces the hold on the same node and devices.
        """
        self._check(node_id, device_ids, ends_at)
        hold = Hold(node_id, device_ids, drain, reason, self._wall(), ends_at)
        await self._kept.change(
            lambda state: replace(
                state,
                holds=(
                    *(
                        one
                        for one in state.holds
                        if (one.node_id, set(one.device_ids)) != (node_id, set(device_ids))
                    ),
                    hold,
                ),
            )
        )
        node = self._registry.nodes.get(node_id)
        workers = node.workers if node and drain else ()
        return hold, tuple(one.model for one in workers if hold.covers(node_id, one.device_ids))

    async def end(self, node_id: str, device_ids: tuple[str, ...]) -> tuple[Hold, ...]:
        """The holds that were ended: those on exactly these devices; none named: every one of the node."""
        self._check(node_id, device_ids, None)
        ended = tuple(
            one
            for one in self._kept.now.holds
            if one.node_id == node_id and (not device_ids or set(one.device_ids) == set(device_ids))
        )
        await self._kept.change(
            lambda state: replace(state, holds=tuple(one for one in state.holds if one not in ended))
        )
        return ended

    def _check(self, node_id: str, device_ids: tuple[str, ...], ends_at: float | None) -> None:
        declared = self._fleet.nodes.get(node_id)
        seen = self._registry.nodes.get(node_id)
        if declared is None and seen is None:
            raise NotFound("node", node_id, tuple(sorted({*self._fleet.nodes, *self._registry.nodes})))
        known = {one.id for one in declared.devices} if declared else set()
        known |= {one.device_id for one in seen.devices} if seen else set()
        wrong = Violations()
        for index, device in enumerate(device_ids):
            wrong.require(
                device in known,
                f"device_ids[{index}]",
                f"{node_id} has no device {device!r}; it has {', '.join(sorted(known)) or 'none'}",
            )
        wrong.require(ends_at is None or ends_at > self._wall(), "ends_at", "lies in the past")
        wrong.raise_if_any()
