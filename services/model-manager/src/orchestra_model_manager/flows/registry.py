"""Nodes as they last reported, each under a lease."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Set

from orchestra.inference.v1 import node_pb2
from orchestra_model_manager.domain.seen import Condition, Costs, SeenDevice, SeenNode, SeenWorker
from orchestra_model_manager.ports import Clock

_CONDITIONS = {
    node_pb2.STATE_STARTING: Condition.STARTING,
    node_pb2.STATE_SERVING: Condition.SERVING,
    node_pb2.STATE_DEGRADED: Condition.DEGRADED,
    node_pb2.STATE_DRAINING: Condition.DRAINING,
    node_pb2.STATE_NOT_SERVING: Condition.NOT_SERVING,
}


class Registry:
    """Holds reports, tells `changed` when one came.

    A node is never forgotten: it is LOST once its lease ran out.
    """

    def __init__(self, lease_s: float, clock: Clock) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._reports: dict[str, node_pb2.Node] = {}
        self._seen: dict[str, SeenNode] = {}
        self._lease_ids: dict[str, str] = {}
        self._measured: dict[tuple[str, str], Costs] = {}
        self.changed = asyncio.Event()
        self._waiters: set[asyncio.Future[None]] = set()

    def report(self, node: node_pb2.Node) -> str:
        """Take a node's report; the lease id it now holds. A new instance of a node gets a new lease."""
        before = self._reports.get(node.node_id)
        if before is None or before.instance_id != node.instance_id:
            self._lease_ids[node.node_id] = uuid.uuid4().hex
        self._reports[node.node_id] = node
        was_alive = self.alive(node.node_id)
        self._remember(node)
        self._seen[node.node_id] = _seen(node, self._clock() + self.lease_s)
        if before != node or not was_alive:
            self.changed.set()
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
        return self._lease_ids[node.node_id]

    def _remember(self, node: node_pb2.Node) -> None:
        """What was measured stays known while the model is not loaded; loaded in another way, it does not."""
        on_cpu = {one.device_id for one in node.devices if one.kind == node_pb2.DEVICE_KIND_CPU}
        for worker in node.workers:
            key = node.node_id, worker.model
            if worker.HasField("measured"):
                self._measured[key] = _costs(worker, on_cpu)
            elif worker.HasField("capabilities"):
                self._measured.pop(key, None)

    @property
    def measured(self) -> Mapping[tuple[str, str], Costs]:
        """By node and model, as the nodes told since this manager started."""
        return self._measured

    async def next_report(self) -> None:
        """Wait for the next report that differs from its node's last one."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    @property
    def nodes(self) -> Mapping[str, SeenNode]:
        return self._seen

    def node_report(self, node_id: str) -> node_pb2.Node | None:
        return self._reports.get(node_id)

    def worker_report(self, node_id: str, model: str) -> node_pb2.Worker | None:
        node = self._reports.get(node_id)
        return next((one for one in node.workers if one.model == model), None) if node else None

    def alive(self, node_id: str) -> bool:
        node = self._seen.get(node_id)
        return node is not None and node.alive(self._clock())

    def next_lease_end(self) -> float | None:
        """Seconds from now until the next lease runs out; None when none is running."""
        now = self._clock()
        return min((node.lease_ends - now for node in self._seen.values() if node.alive(now)), default=None)


def _costs(worker: node_pb2.Worker, on_cpu: Set[str]) -> Costs:
    """The memory that is measured is the process's own: on a GPU it is not what the card must hold."""
    seen = worker.measured
    here = seen.HasField("memory_bytes") and on_cpu >= set(worker.device_ids)
    return Costs(
        memory_bytes=seen.memory_bytes if here else None,
        load_s=seen.load.ToNanoseconds() / 1e9 if seen.HasField("load") else None,
    )


def _seen(node: node_pb2.Node, lease_ends: float) -> SeenNode:
    return SeenNode(
        node_id=node.node_id,
        instance_id=node.instance_id,
        address=node.address,
        lease_ends=lease_ends,
        devices=tuple(
            SeenDevice(
                device.device_id,
                device.memory_total_bytes if device.HasField("memory_total_bytes") else None,
                device.reserved,
            )
            for device in node.devices
        ),
        workers=tuple(
            SeenWorker(
                model=worker.model,
                instance_id=worker.instance_id,
                condition=_CONDITIONS.get(worker.state, Condition.NOT_SERVING),
                reason=worker.state_reason,
                device_ids=tuple(worker.device_ids),
                memory_bytes=worker.memory_bytes if worker.HasField("memory_bytes") else None,
            )
            for worker in node.workers
        ),
    )
