"""The next steps from what is seen to what is wanted. Level-triggered: only the present counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from orchestra_model_manager.domain.holds import Hold, held_by
from orchestra_model_manager.domain.seen import SeenNode
from orchestra_model_manager.domain.wishes import Wish, placement_id

FIRST_BACK_OFF_S = 2.0
LONGEST_BACK_OFF_S = 120.0


class Action(Enum):
    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do on one node, and why."""

    action: Action
    node_id: str
    model: str
    reason: str
    device_ids: tuple[str, ...] = ()

    @property
    def placement_id(self) -> str:
        return placement_id(self.node_id, self.model)


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed: how often in a row, when last (clock seconds), and why."""

    times: int
    at: float
    reason: str

    @property
    def retry_at(self) -> float:
        return self.at + back_off(self.times)


def back_off(times: int) -> float:
    """Seconds to wait after the `times`-th failure in a row: doubling, bounded."""
    return float(min(FIRST_BACK_OFF_S * 2 ** max(times - 1, 0), LONGEST_BACK_OFF_S))


def next_steps(
    wishes: Iterable[Wish],
    nodes: Mapping[str, SeenNode],
    holds: Collection[Hold],
    failures: Mapping[str, Failure],
    now: float,
    wall: float,
) -> tuple[Step, ...]:
    """At most one step for each node that is alive; unloads come first, since they make room.

    `now` is the clock of leases and failures, `wall` that of holds. Nothing is done to a node that is not
    alive, and nothing to a worker that is still starting or draining.
    """
    by_node: dict[str, list[Wish]] = {}
    for wish in wishes:
        by_node.setdefault(wish.node_id, []).append(wish)
    steps: list[Step] = []
    for node_id in sorted(nodes):
        node = nodes[node_id]
        if not node.alive(now):
            continue
        mine = by_node.get(node_id, [])
        step = _unload(node, mine, holds, wall) or _load(node, mine, holds, failures, now, wall)
        if step is not None:
            steps.append(step)
    return tuple(steps)


def _unload(node: SeenNode, wishes: list[Wish], holds: Collection[Hold], wall: float) -> Step | None:
    kept = {wish.model for wish in wishes}
    for worker in node.workers:
        if not worker.condition.answers:
            continue
        if hold := held_by(holds, node.node_id, worker.device_ids, wall, drain_only=True):
            return Step(Action.UNLOAD, node.node_id, worker.model, f"drained: {hold.reason or 'held'}")
        if worker.model not in kept:
            return Step(Action.UNLOAD, node.node_id, worker.model, "not wanted here")
    return None


def _load(
    node: SeenNode,
    wishes: list[Wish],
    holds: Collection[Hold],
    failures: Mapping[str, Failure],
    now: float,
    wall: float,
) -> Step | None:
    for wish in wishes:
        if node.worker(wish.model) is not None or held_by(holds, node.node_id, wish.device_ids, wall):
            continue
        failure = failures.get(wish.placement_id)
        if failure is not None and now < failure.retry_at:
            continue
        return Step(Action.LOAD, node.node_id, wish.model, f"wanted by {wish.source.value}", wish.device_ids)
    return None
