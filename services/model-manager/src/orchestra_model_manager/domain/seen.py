"""What the nodes last reported, reduced to what decisions need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Condition(Enum):
    """State of a worker, in the words of the contract."""

    STARTING = "starting"
    SERVING = "serving"
    DEGRADED = "degraded"
    DRAINING = "draining"
    NOT_SERVING = "not_serving"

    @property
    def answers(self) -> bool:
        return self in (Condition.SERVING, Condition.DEGRADED)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a model was measured to take on a node, loaded as it is wanted there; None: not measured."""

    memory_bytes: int | None = None
    load_s: float | None = None


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """One model on a node. `memory_bytes` is resident; None when the node did not measure it."""

    model: str
    instance_id: str
    condition: Condition
    reason: str = ""
    device_ids: tuple[str, ...] = ()
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SeenDevice:
    """`memory_bytes` is the device's whole memory; None when nobody knows it."""

    device_id: str
    memory_bytes: int | None = None
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class SeenNode:
    """A node's last report. `lease_ends` is in the clock's seconds."""

    node_id: str
    instance_id: str
    address: str
    lease_ends: float
    devices: tuple[SeenDevice, ...] = ()
    workers: tuple[SeenWorker, ...] = ()

    def alive(self, now: float) -> bool:
        return now < self.lease_ends

    def worker(self, model: str) -> SeenWorker | None:
        return next((worker for worker in self.workers if worker.model == model), None)
