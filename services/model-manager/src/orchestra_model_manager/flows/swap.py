"""`swap_models(unload_list, load_list)`: drain, unload, load, verify, publish; and back when a load fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import structlog

from orchestra.inference.v1 import node_pb2
from orchestra_errors import FieldViolation, InvalidRequest, OrchestraError
from orchestra_model_manager.domain.planning import plan
from orchestra_model_manager.domain.wishes import Swapped, Wish
from orchestra_model_manager.flows.acting import Acting
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.keeping import Kept
from orchestra_model_manager.flows.posting import Posting
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.ports import Clock
from orchestra_rpc import Background

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SwapProgress:
    """`stage` is the contract's word without its prefix."""

    model: str
    stage: str
    message: str = ""
    progress: node_pb2.LoadProgress | None = None


class Swapping:
    def __init__(
        self,
        fleet: Fleet,
        registry: Registry,
        kept: Kept,
        posting: Posting,
        acting: Acting,
        background: Background,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._fleet = fleet
        self._registry = registry
        self._kept = kept
        self._posting = posting
        self._acting = acting
        self._background = background
        self._clock = clock
        self._wall = wall

    async def swap(
        self, unload: Sequence[str], load: Sequence[str], drain_s: float | None
    ) -> AsyncIterator[SwapProgress]:
        """Progress until all serve. Ending the iteration does not end the swap: half of one serves nobody.

        Raises InvalidRequest naming every model that cannot be swapped, and whatever the load failed with,
        after what served before serves again.
        """
        leaving, coming = self._checked(unload, load)
        news: asyncio.Queue[SwapProgress | None] = asyncio.Queue()
        task = self._background.spawn(self._carry_out(leaving, coming, drain_s, news), name="swap")
        task.add_done_callback(lambda _: news.put_nowait(None))
        while (item := await news.get()) is not None:
            yield item
        failure = task.exception() if not task.cancelled() else None
        if failure is not None:
            raise failure

    def _checked(
        self, unload: Sequence[str], load: Sequence[str]
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        wrong: list[FieldViolation] = []
        leaving: list[tuple[str, str]] = []
        for index, given in enumerate(unload):
            try:
                name = self._fleet.name(given)
            except OrchestraError as error:
                wrong.append(FieldViolation(f"unload[{index}]", str(error)))
                continue
            found = [(node.node_id, name) for node in self._registry.nodes.values() if node.worker(name)]
            leaving += found
            if not found:
                wrong.append(FieldViolation(f"unload[{index}]", f"{name} is not loaded on any node"))
        needs = []
        for index, given in enumerate(load):
            try:
                need = self._fleet.need(self._fleet.name(given))
            except OrchestraError as error:
                wrong.append(FieldViolation(f"load[{index}]", str(error)))
                continue
            needs.append((index, need))
        gone = set(leaving)
        staying = [
            Wish(worker.model, node.node_id, worker.device_ids)
            for node in self._registry.nodes.values()
            for worker in node.workers
            if (node.node_id, worker.model) not in gone
        ]
        planned = plan(
            [need for _, need in needs],
            staying,
            self._registry.nodes.values(),
            self._fleet.sizes,
            self._kept.now.holds,
            self._fleet.config.services.model_manager.max_loaded,
            self._clock(),
            self._wall(),
            self._registry.measured,
        )
        wrong += [
            FieldViolation(f"load[{index}]", f"{need.model}: {planned.impossible[need.model]}")
            for index, need in needs
            if need.model in planned.impossible
        ]
        if not unload and not load:
            wrong.append(FieldViolation("load", "name at least one model to load or unload"))
        if wrong:
            raise InvalidRequest(wrong)
        return leaving, [(one.node_id, one.model) for one in planned.placed]

    async def _carry_out(
        self,
        leaving: list[tuple[str, str]],
        coming: list[tuple[str, str]],
        drain_s: float | None,
        news: asyncio.Queue[SwapProgress | None],
    ) -> None:
        before = self._kept.now.swapped
        after = before
        for node_id, model in leaving:
            after = after.unload(node_id, model)
        for node_id, model in coming:
            after = after.load(node_id, model)
        async with AsyncExitStack() as held:
            # always in the same order, so that two swaps cannot wait for each other
            for node_id in sorted({node for node, _ in (*leaving, *coming)}):
                await held.enter_async_context(self._acting.lock(node_id))
            await self._remember(after)
            unloaded: list[tuple[str, str]] = []
            loaded: list[tuple[str, str]] = []
            try:
                for node_id, model in leaving:
                    await self._out(node_id, model, drain_s, news)
                    unloaded.append((node_id, model))
                for node_id, model in coming:
                    await self._in(node_id, model, news)
                    loaded.append((node_id, model))
            except OrchestraError as error:
                log.warning("swap failed, going back", reason=str(error))
                await self._remember(before)
                await self._back(unloaded, loaded, str(error), news)
                raise

    async def _out(
        self, node_id: str, model: str, drain_s: float | None, news: asyncio.Queue[SwapProgress | None]
    ) -> None:
        news.put_nowait(SwapProgress(model, "DRAINING", f"on {node_id}"))
        await self._acting.unload(node_id, model, "leaves in a swap", drain_s)
        news.put_nowait(SwapProgress(model, "UNLOADED", f"from {node_id}"))

    async def _in(self, node_id: str, model: str, news: asyncio.Queue[SwapProgress | None]) -> None:
        async for progress in self._acting.load(node_id, self._fleet.order(model, node_id)):
            news.put_nowait(SwapProgress(model, "LOADING", f"on {node_id}", progress))
        news.put_nowait(SwapProgress(model, "SERVING", f"on {node_id}"))

    async def _back(
        self,
        unloaded: list[tuple[str, str]],
        loaded: list[tuple[str, str]],
        reason: str,
        news: asyncio.Queue[SwapProgress | None],
    ) -> None:
        for node_id, model in loaded:
            news.put_nowait(SwapProgress(model, "ROLLING_BACK", reason))
            await self._acting.unload(node_id, model, "its swap failed")
        for node_id, model in unloaded:
            news.put_nowait(SwapProgress(model, "ROLLING_BACK", reason))
            await self._in(node_id, model, news)

    async def _remember(self, swapped: Swapped) -> None:
        await self._kept.change(lambda state: replace(state, swapped=swapped))
        self._posting.publish()
