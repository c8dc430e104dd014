"""The planner: which models go on which nodes, in memory that is there, with the fewest moves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestra_model_manager.domain.holds import Hold, held_by
from orchestra_model_manager.domain.seen import SeenNode
from orchestra_model_manager.domain.wishes import Wish, WishSource


@dataclass(frozen=True, slots=True)
class Need:
    """A model to place. `memory_bytes` None: nobody knows what it takes.

    `why_not` says why it cannot be loaded at all (no weights here, for example).
    """

    model: str
    memory_bytes: int | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A model with its place. `kept`: it is there already."""

    model: str
    node_id: str
    device_ids: tuple[str, ...]
    memory_bytes: int | None
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`leaving` holds (node, model) pairs that make room; `impossible` maps a model to why."""

    placed: tuple[Planned, ...] = ()
    leaving: tuple[tuple[str, str], ...] = ()
    impossible: dict[str, str] = field(default_factory=dict)

    @property
    def wishes(self) -> tuple[Wish, ...]:
        return tuple(
            Wish(one.model, one.node_id, one.device_ids, source=WishSource.PHASE) for one in self.placed
        )


@dataclass(slots=True)
class _Device:
    node_id: str
    device_id: str
    free: int | None
    """None: nobody knows the device's memory, so nothing is placed there unasked."""


def plan(
    needs: Sequence[Need],
    fixed: Iterable[Wish],
    nodes: Iterable[SeenNode],
    sizes: dict[str, int],
    holds: Collection[Hold],
    max_loaded: int,
    now: float,
    wall: float,
) -> Plan:
    """Places `needs` beside what is `fixed` (the deployment's own wishes, never moved).

    `sizes` gives bytes of models that are known, `max_loaded` bounds models over all nodes. A model that is
    where it can stay is kept; the others go, largest first, to the device that they leave least room on. A
    reserved or held device, or a node whose lease has run out, takes nothing.
    """
    alive = [node for node in nodes if node.alive(now)]
    fixed = tuple(fixed)
    devices = _room(alive, fixed, sizes, holds, wall)
    there = {worker.model: (node, worker) for node in alive for worker in node.workers}
    wanted = {need.model for need in needs} | {wish.model for wish in fixed}
    left = max_loaded - len({wish.placement_id for wish in fixed})
    placed: list[Planned] = []
    impossible: dict[str, str] = {}
    fixed_models = {wish.model for wish in fixed}
    open_needs: list[Need] = []
    for need in needs:
        if need.model in fixed_models:
            continue
        if need.why_not:
            impossible[need.model] = need.why_not
        else:
            open_needs.append(need)
    for need in sorted(
        open_needs, key=lambda one: (one.model not in there, -(one.memory_bytes or 0), one.model)
    ):
        if left <= 0:
            impossible[need.model] = f"{max_loaded} models are the most that may be loaded at a time"
            continue
        spot = _spot(need, devices, there)
        if isinstance(spot, str):
            impossible[need.model] = spot
            continue
        device, kept = spot
        if device.free is not None and need.memory_bytes is not None:
            device.free -= need.memory_bytes
        left -= 1
        reason = "is there already" if kept else f"fits on {device.device_id} with the least room left over"
        placed.append(
            Planned(need.model, device.node_id, (device.device_id,), need.memory_bytes, kept, reason)
        )
    leaving = tuple(
        (node.node_id, worker.model)
        for node in alive
        for worker in node.workers
        if worker.model not in wanted and worker.condition.answers
    )
    return Plan(tuple(placed), leaving, impossible)


def _room(
    nodes: Iterable[SeenNode],
    fixed: Iterable[Wish],
    sizes: dict[str, int],
    holds: Collection[Hold],
    wall: float,
) -> list[_Device]:
    found = [
        _Device(node.node_id, device.device_id, device.memory_bytes)
        for node in nodes
        for device in node.devices
        if not device.reserved and held_by(holds, node.node_id, (device.device_id,), wall) is None
    ]
    for wish in fixed:
        mine = [
            device
            for device in found
            if device.node_id == wish.node_id and (not wish.device_ids or device.device_id in wish.device_ids)
        ]
        share = sizes.get(wish.model, 0) // max(len(mine if wish.device_ids else mine[:1]), 1)
        for device in mine if wish.device_ids else mine[:1]:
            if device.free is not None:
                device.free -= share
    return found


def _spot(
    need: Need, devices: list[_Device], there: Mapping[str, tuple[SeenNode, object]]
) -> tuple[_Device, bool] | str:
    if need.memory_bytes is None:
        return "the memory that it needs is not known: give its vram_required or size"
    fitting = [device for device in devices if device.free is not None and device.free >= need.memory_bytes]
    if not fitting:
        most = max((device.free for device in devices if device.free is not None), default=None)
        if most is None:
            return "no node with a free device of known memory reports"
        missing = need.memory_bytes - most
        return f"needs {need.memory_bytes} bytes; the freest device has {max(most, 0)}, {missing} too few"
    home = there.get(need.model)
    if home is not None:
        for device in fitting:
            if device.node_id == home[0].node_id:
                return device, True
    return min(fitting, key=lambda device: (device.free or 0, device.node_id, device.device_id)), False
