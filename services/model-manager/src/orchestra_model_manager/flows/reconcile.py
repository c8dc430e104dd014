"""The loop: look, take the next step on each node, look again."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import structlog

from orchestra_errors import OrchestraError
from orchestra_model_manager.domain.holds import ended_at
from orchestra_model_manager.domain.reconciling import Action, Step, next_steps
from orchestra_model_manager.flows.acting import Acting
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.keeping import Kept
from orchestra_model_manager.flows.phasing import Phasing
from orchestra_model_manager.flows.posting import Posting
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.ports import Clock
from orchestra_rpc import Background

log = structlog.get_logger()


class Reconciler:
    """`nudge` asks for a look now.

    Otherwise it looks when a node reports, a lease or hold ends, or `every_s` has passed.
    """

    def __init__(
        self,
        fleet: Fleet,
        registry: Registry,
        kept: Kept,
        phasing: Phasing,
        posting: Posting,
        acting: Acting,
        background: Background,
        every_s: float,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._fleet = fleet
        self._registry = registry
        self._kept = kept
        self._phasing = phasing
        self._posting = posting
        self._acting = acting
        self._background = background
        self._every_s = every_s
        self._clock = clock
        self._wall = wall
        self._busy: set[str] = set()

    def nudge(self) -> None:
        self._registry.changed.set()

    async def run(self) -> None:
        """Until cancelled. A look that fails is logged and tried again; it never ends the loop."""
        while True:
            self._registry.changed.clear()
            try:
                await self.look()
            except OrchestraError as error:
                log.error("reconciling failed", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._registry.changed.wait()

    async def look(self) -> None:
        """One look: end what has ended, publish, start one step on each node that is not busy."""
        await self._end_holds()
        await self._phasing.advance_if_due()
        self._posting.publish()
        steps = next_steps(
            self._posting.wishes(),
            self._registry.nodes,
            self._kept.now.holds,
            self._acting.acts.failures,
            self._clock(),
            self._wall(),
        )
        for step in steps:
            if step.node_id not in self._busy and not self._acting.lock(step.node_id).locked():
                self._busy.add(step.node_id)
                self._background.spawn(self._take(step), name=f"{step.action.value} {step.placement_id}")

    async def _take(self, step: Step) -> None:
        try:
            async with self._acting.lock(step.node_id):
                log.info("step", action=step.action.value, placement=step.placement_id, reason=step.reason)
                if step.action is Action.UNLOAD:
                    await self._acting.unload(step.node_id, step.model, step.reason)
                else:
                    order = self._fleet.order(step.model, step.node_id, step.device_ids)
                    async for _ in self._acting.load(step.node_id, order):
                        pass
        except OrchestraError as error:
            # a failed load is noted with its back-off; an unload is tried again at the next look
            log.warning("step failed", placement=step.placement_id, reason=str(error))
        finally:
            self._busy.discard(step.node_id)
            self.nudge()

    async def _end_holds(self) -> None:
        over = set(ended_at(self._kept.now.holds, self._wall()))
        if over:
            await self._kept.change(
                lambda state: replace(state, holds=tuple(one for one in state.holds if one not in over))
            )

    def _wait_s(self) -> float:
        waits = [self._every_s]
        lease = self._registry.next_lease_end()
        if lease is not None:
            waits.append(lease + 0.05)
        waits += [one.retry_at - self._clock() for one in self._acting.acts.failures.values()]
        waits += [one.ends_at - self._wall() for one in self._kept.now.holds if one.ends_at is not None]
        return max(min(waits), 0.05)
