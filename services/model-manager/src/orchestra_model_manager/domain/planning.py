"""The planner: which models go on which nodes, in memory that is there, with the fewest moves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType

from orchestra_model_manager.domain.holds import Hold, held_by
from orchestra_model_manager.domain.seen import Costs, SeenNode
from orchestra_model_manager.domain.wishes import Wish, WishSource

_NOTHING: Mapping[tuple[str, str], Costs] = MappingProxyType({})


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
    """A model with its place. `kept`: it is there already. `load_s`: as it was measured there, in seconds."""

    model: str
    node_id: str
    device_ids: tuple[str, ...]
    memory_bytes: int | None
    kept: bool
    reason: str
    load_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`leaving` holds (node, model) pairs that make room; `impossible` maps a model to why."""

    placed: tuple[Planned, ...] = ()
    leaving: tuple[tuple[str, str], ...] = ()
    impossible: dict[str, str] = field(default_factory=dict)

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """Those known to load quickest first, so that most of them serve soonest; the unmeasured follow."""
        quickest = sorted(self.placed, key=lambda one: inf if one.load_s is None else one.load_s)
        return tuple(
            Wish(one.model, one.node_id, one.device_ids, source=WishSource.PHASE) for one in quickest
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
    measured: Mapping[tuple[str, str], Costs] = _NOTHING,
) -> Plan:
    """Places `needs` beside what is `fixed` (the deployment's own wishes, never moved).

    `sizes` gives bytes of models that are known, `max_loaded` bounds models over all nodes. A model that is
    where it can stay is kept; the others go, largest first, to the device that they leave least room on. A
    reserved or held device, or a node whose lease has run out, takes nothing.

    What a model was `measured` to take on a node, by node and model, counts there in place of what is
    declared.
    """
    alive = [node for node in nodes if node.alive(now)]
    fixed = tuple(fixed)
    devices = _room(alive, fixed, sizes, holds, wall, measured)
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
        spot = _spot(need, devices, there, measured)
        if isinstance(spot, str):
            impossible[need.model] = spot
            continue
        device, kept = spot
        costs = measured.get((device.node_id, need.model), Costs())
        memory = _memory(need, costs)
        if device.free is not None and memory is not None:
            device.free -= memory
        left -= 1
        ids = (device.device_id,)
        reason = _reason(device, kept, costs)
        placed.append(Planned(need.model, device.node_id, ids, memory, kept, reason, costs.load_s))
    leaving = tuple(
        (node.node_id, worker.model)
        for node in alive
        for worker in node.workers
        if worker.model not in wanted and worker.condition.answers
    )
    return Plan(tuple(placed), leaving, impossible)


def _memory(need: Need, costs: Costs) -> int | None:
    return need.memory_bytes if costs.memory_bytes is None else costs.memory_bytes


def _reason(device: _Device, kept: bool, costs: Costs) -> str:
    if kept:
        return "is there already"
    takes = "" if costs.load_s is None else f"; loads in about {costs.load_s:.2g} s, as measured"
    return f"fits on {device.device_id} with the least room left over{takes}"


def _room(
    nodes: Iterable[SeenNode],
    fixed: Iterable[Wish],
    sizes: dict[str, int],
    holds: Collection[Hold],
    wall: float,
    measured: Mapping[tuple[str, str], Costs],
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
        costs = measured.get((wish.node_id, wish.model), Costs())
        size = sizes.get(wish.model, 0) if costs.memory_bytes is None else costs.memory_bytes
        share = size // max(len(mine if wish.device_ids else mine[:1]), 1)
        for device in mine if wish.device_ids else mine[:1]:
            if device.free is not None:
                device.free -= share
    return found


def _spot(
    need: Need,
    devices: list[_Device],
    there: Mapping[str, tuple[SeenNode, object]],
    measured: Mapping[tuple[str, str], Costs],
) -> tuple[_Device, bool] | str:
    def costs(device: _Device) -> Costs:
        return measured.get((device.node_id, need.model), Costs())

    known = [(device, bytes_) for device in devices if (bytes_ := _memory(need, costs(device))) is not None]
    if not known and need.memory_bytes is None:
        return "the memory that it needs is not known: give its vram_required or size, or measure it"
    fitting = [device for device, bytes_ in known if device.free is not None and device.free >= bytes_]
    if not fitting:
        return _too_little(known)
    home = there.get(need.model)
    if home is not None:
        for device in fitting:
            if device.node_id == home[0].node_id:
                return device, True

    def preference(device: _Device) -> tuple[int, float, str, str]:
        load_s = costs(device).load_s
        return (device.free or 0, inf if load_s is None else load_s, device.node_id, device.device_id)

    return min(fitting, key=preference), False


def _too_little(known: Sequence[tuple[_Device, int]]) -> str:
    """Of the device that comes nearest."""
    missing = [
        (bytes_ - device.free, bytes_, device.free) for device, bytes_ in known if device.free is not None
    ]
    if not missing:
        return "no node with a free device of known memory reports"
    few, needed, free = min(missing)
    return f"needs {needed} bytes; the freest device has {max(free, 0)}, {few} too few"
