"""Loading and unloading on nodes: one thing at a time per node, published before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import structlog

from orchestra.inference.v1 import node_pb2
from orchestra_errors import OrchestraError, Unavailable
from orchestra_model_manager.domain.reconciling import Failure
from orchestra_model_manager.domain.wishes import placement_id
from orchestra_model_manager.flows.board import Board
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.ports import Clock, LoadOrder, Nodes

log = structlog.get_logger()
SENT_LIMIT_S = 1.0
SEEN_LIMIT_S = 15.0


@dataclass
class Acts:
    """What is being done and what failed, for the board: loading by placement id, leaving, failures."""

    loading: dict[str, node_pb2.LoadProgress] = field(default_factory=dict)
    leaving: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)


class Acting:
    """`publish` posts the board anew and returns its version."""

    def __init__(self, registry: Registry, nodes: Nodes, board: Board, drain_s: float, clock: Clock) -> None:
        self.acts = Acts()
        self.publish: Callable[[], int] = lambda: board.now.version
        self._registry = registry
        self._nodes = nodes
        self._board = board
        self._drain_s = drain_s
        self._clock = clock
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, node_id: str) -> asyncio.Lock:
        """Whoever acts on a node holds this."""
        return self._locks.setdefault(node_id, asyncio.Lock())

    async def load(self, node_id: str, order: LoadOrder) -> AsyncIterator[node_pb2.LoadProgress]:
        """Load and wait until the node itself reports that the model answers.

        A failure is noted for the back-off and raised.
        """
        key = placement_id(node_id, order.model)
        self.acts.loading[key] = node_pb2.LoadProgress(stage=node_pb2.LOAD_STAGE_STARTING_WORKER)
        self.publish()
        try:
            async for progress in self._nodes.load(self._address(node_id), order):
                self.acts.loading[key] = progress
                self.publish()
                yield progress
            await self._until(lambda: self._answers(node_id, order.model), f"{order.model} on {node_id}")
        except OrchestraError as error:
            before = self.acts.failures.get(key)
            times = before.times + 1 if before else 1
            self.acts.failures[key] = Failure(times, self._clock(), str(error))
            log.warning("load failed", node=node_id, model=order.model, times=times, reason=str(error))
            raise
        else:
            self.acts.failures.pop(key, None)
            log.info("model serves", node=node_id, model=order.model)
        finally:
            self.acts.loading.pop(key, None)
            self.publish()

    async def unload(self, node_id: str, model: str, reason: str, drain_s: float | None = None) -> None:
        """Tell every router first, then drain and unload, and wait until the node reports it gone."""
        key = placement_id(node_id, model)
        self.acts.leaving[key] = reason
        try:
            if not await self._board.delivered(self.publish(), SENT_LIMIT_S):
                log.warning("a watcher is slow to take the board", node=node_id, model=model)
            await self._nodes.unload(
                self._address(node_id), model, self._drain_s if drain_s is None else drain_s
            )
            await self._until(
                lambda: self._registry.worker_report(node_id, model) is None, f"{model} to leave {node_id}"
            )
            log.info("model unloaded", node=node_id, model=model, reason=reason)
        finally:
            self.acts.leaving.pop(key, None)
            self.publish()

    def _address(self, node_id: str) -> str:
        node = self._registry.nodes.get(node_id)
        if node is None or not self._registry.alive(node_id):
            raise Unavailable(f"node {node_id}", retry_after=self._registry.lease_s)
        return node.address

    def _answers(self, node_id: str, model: str) -> bool:
        node = self._registry.nodes.get(node_id)
        worker = node.worker(model) if node else None
        return worker is not None and worker.condition.answers

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Reports come on change, so this waits for the node's own word, not for a guess."""
        try:
            async with asyncio.timeout(SEEN_LIMIT_S):
                while not condition():
                    await self._registry.next_report()
        except TimeoutError:
            raise Unavailable(f"a report of {what}", retry_after=self._registry.lease_s) from None
