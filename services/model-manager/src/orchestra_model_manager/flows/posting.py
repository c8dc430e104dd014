"""Composes the board: what is wanted, what the nodes report, and what is being done about it."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import timestamp_pb2

from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_pb2
from orchestra_model_manager.domain.holds import held_by
from orchestra_model_manager.domain.wishes import Wish, placement_id, wanted
from orchestra_model_manager.flows.acting import Acts
from orchestra_model_manager.flows.board import Board
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.keeping import Kept
from orchestra_model_manager.flows.phasing import Phasing
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.ports import Clock

_ANSWERS = (node_pb2.STATE_SERVING, node_pb2.STATE_DEGRADED)


class Posting:
    def __init__(
        self,
        fleet: Fleet,
        registry: Registry,
        kept: Kept,
        phasing: Phasing,
        acts: Acts,
        board: Board,
        wall: Clock,
    ) -> None:
        self._fleet = fleet
        self._registry = registry
        self._kept = kept
        self._phasing = phasing
        self._acts = acts
        self._board = board
        self._wall = wall
        self._since: dict[str, tuple[model_pb2.PlacementState.ValueType, float]] = {}

    def wishes(self) -> tuple[Wish, ...]:
        """Everything that is wanted now."""
        state = self._kept.now
        return wanted(self._fleet.wishes, state.swapped, self._phasing.planned().wishes)

    def publish(self) -> int:
        """Post the board as it is now; the version that holds it."""
        rotation = self._kept.now.rotation
        return self._board.post(rotation.phase if rotation else "", list(self._placements()))

    def _placements(self) -> Iterable[model_pb2.Placement]:
        wishes = {wish.placement_id: wish for wish in self.wishes()}
        where = {key: (wish.node_id, wish.model) for key, wish in wishes.items()}
        for node in self._registry.nodes.values():
            for worker in node.workers:
                where.setdefault(placement_id(node.node_id, worker.model), (node.node_id, worker.model))
        for key in sorted(where):
            yield self._placement(key, *where[key], wishes.get(key))

    def _placement(self, key: str, node_id: str, model: str, wish: Wish | None) -> model_pb2.Placement:
        node = self._registry.node_report(node_id)
        worker = self._registry.worker_report(node_id, model)
        state, reason = self._state(key, node_id, model, worker, wish)
        known = self._fleet.catalogue.resolve(model) if self._fleet.catalogue.knows(model) else None
        placement = model_pb2.Placement(
            placement_id=key,
            model=model,
            node_id=node_id,
            node_instance_id=node.instance_id if node else "",
            node_address=node.address if node else "",
            worker=worker,
            state=state,
            state_reason=reason,
            pinned=wish.pinned if wish else False,
            family=known.family if known else "",
            specialities=known.specialities if known else (),
            changed_at=self._changed_at(key, state),
        )
        devices = tuple(worker.device_ids) if worker else (wish.device_ids if wish else ())
        self._power(placement, node, devices)
        return placement

    def _state(
        self, key: str, node_id: str, model: str, worker: node_pb2.Worker | None, wish: Wish | None
    ) -> tuple[model_pb2.PlacementState.ValueType, str]:
        if node_id in self._registry.nodes and not self._registry.alive(node_id):
            return model_pb2.PLACEMENT_STATE_LOST, "the node's lease has run out"
        if key in self._acts.leaving:
            return model_pb2.PLACEMENT_STATE_DRAINING, self._acts.leaving[key]
        if worker is not None and worker.state == node_pb2.STATE_DRAINING:
            return model_pb2.PLACEMENT_STATE_DRAINING, worker.state_reason
        if worker is not None and worker.state in _ANSWERS:
            return model_pb2.PLACEMENT_STATE_SERVING, worker.state_reason
        if key in self._acts.loading or (worker is not None and worker.state == node_pb2.STATE_STARTING):
            return model_pb2.PLACEMENT_STATE_LOADING, worker.state_reason if worker else ""
        if failure := self._acts.failures.get(key):
            return model_pb2.PLACEMENT_STATE_FAILED, failure.reason
        if worker is not None:
            return model_pb2.PLACEMENT_STATE_FAILED, worker.state_reason or "the worker does not answer"
        return model_pb2.PLACEMENT_STATE_WANTED, self._why_not_yet(node_id, wish)

    def _why_not_yet(self, node_id: str, wish: Wish | None) -> str:
        if node_id not in self._registry.nodes:
            return f"node {node_id} has not reported yet"
        devices = wish.device_ids if wish else ()
        hold = held_by(self._kept.now.holds, node_id, devices, self._wall())
        return f"held: {hold.reason}" if hold else "waits for its turn on the node"

    def _changed_at(self, key: str, state: model_pb2.PlacementState.ValueType) -> timestamp_pb2.Timestamp:
        before = self._since.get(key)
        if before is None or before[0] != state:
            self._since[key] = before = (state, self._wall())
        stamp = timestamp_pb2.Timestamp()
        stamp.FromMilliseconds(int(before[1] * 1000))
        return stamp

    def _power(
        self, placement: model_pb2.Placement, node: node_pb2.Node | None, devices: tuple[str, ...]
    ) -> None:
        if placement.worker.measured.HasField("watts"):
            # the mean while it worked; a meter read now may find the devices idle
            placement.watts = placement.worker.measured.watts
            placement.power_source = model_pb2.POWER_SOURCE_MEASURED
            return
        on = [one for one in (node.devices if node else ()) if one.device_id in devices]
        measured = [one.watts_measured for one in on if one.HasField("watts_measured")]
        if on and len(measured) == len(on):
            placement.watts = sum(measured)
            placement.power_source = model_pb2.POWER_SOURCE_MEASURED
            return
        declared = self._fleet.watts(placement.node_id, devices)
        if declared is not None:
            placement.watts = declared
            placement.power_source = model_pb2.POWER_SOURCE_DECLARED
