"""Which models this node holds: load, keep alive, unload."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import structlog

from orchestra_errors import (
    FailedPrecondition,
    InsufficientMemory,
    NotFound,
    OrchestraError,
)
from orchestra_inference_node.domain.fitting import Claim, want_of_memory
from orchestra_inference_node.domain.resident import Placed, Resident, Stage, State, Wanted
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.making_room import MakingRoom
from orchestra_inference_node.flows.reports import note
from orchestra_inference_node.ports import Weights, WeightsFile, WorkerHandle, WorkerStarter
from orchestra_rpc import Background

# how often the growing memory of a worker that loads is looked at
_LOADING_EVERY_S = 0.2
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Unloaded:
    """`memory_freed` in bytes; None when it was not measured."""

    was_loaded: bool
    memory_freed: int | None = None
    cut_calls: int = 0


@dataclass(slots=True)
class _Held:
    resident: Resident
    task: asyncio.Task[None] | None = None
    handle: WorkerHandle | None = None
    memory_before: int = 0
    """Bytes of the process when its engine began to load."""
    error: OrchestraError | None = None


class Residency:
    """One resident per model. `changes` tells of every move of any of them."""

    def __init__(
        self,
        *,
        node_id: str,
        starter: WorkerStarter,
        weights: WeightsFile,
        place: Callable[[Wanted], Placed],
        changes: Changes,
        load_timeout_s: float,
        room: MakingRoom | None = None,
    ) -> None:
        """`room` None: nobody looks whether a model fits before it is loaded."""
        self.changes = changes
        self._node_id = node_id
        self._starter = starter
        self._weights = weights
        self._place = place
        self._load_timeout_s = load_timeout_s
        self._room = room
        self._held: dict[str, _Held] = {}
        self._tasks = Background()

    @property
    def residents(self) -> list[Resident]:
        return [held.resident for held in self._held.values()]

    def memory_of(self, model: str) -> int | None:
        """Resident bytes of the model's process; None when there is none or it was not measured."""
        held = self._held.get(model)
        return held.handle.memory_bytes() if held is not None and held.handle is not None else None

    def find(self, model: str) -> Resident:
        """Raises NotFound with the names that are here."""
        held = self._held.get(model)
        if held is None:
            raise NotFound("model", model, sorted(self._held))
        return held.resident

    async def load(self, wanted: Wanted) -> AsyncGenerator[Resident]:
        """The resident at every move until it serves. The load goes on when the caller does not.

        Raises FailedPrecondition when the model is held in another way or its process fails to start, and
        whatever is wrong with the file, the engine or its options.
        """
        held = self._held.get(wanted.model)
        if held is None:
            held = self._begin(wanted)
        elif held.resident.wanted != wanted:
            raise FailedPrecondition(f"model {wanted.model}", "is held with another spec: unload it first")
        elif held.resident.state is State.DRAINING:
            raise FailedPrecondition(f"model {wanted.model}", "is being unloaded")
        seen = -1
        while not held.resident.usable:
            if held.error is not None:
                raise held.error
            if held.task is not None and held.task.done():
                raise FailedPrecondition(f"model {wanted.model}", "was unloaded while it loaded")
            if seen >= 0:
                yield held.resident
            seen = await self.changes.after(self.changes.version if seen < 0 else seen, 1.0)
        yield held.resident

    def _begin(self, wanted: Wanted) -> _Held:
        resident = Resident(
            wanted=wanted, worker_id=f"{self._node_id}/{wanted.model}", load_began=time.monotonic()
        )
        held = self._held[wanted.model] = _Held(resident)
        held.task = self._tasks.spawn(self._live(held), name=f"model {wanted.model}")
        self.changes.touch()
        return held

    async def _live(self, held: _Held) -> None:
        """From the file to the end of the last process."""
        resident = held.resident
        model = resident.wanted.model
        try:
            # it looks at files
            resident.placed(await asyncio.to_thread(self._place, resident.wanted))
            self.changes.touch()
            weights = await self._verify(held)
            if self._room is not None:
                await self._room.claim(resident, lambda: self._claims(held))
            while True:
                because = await self._one_process(held, weights)
                if resident.state is State.DRAINING:
                    return
                resident.died(because, time.monotonic())
                log.warning("worker lost", model=model, because=because, restarts=resident.restarts.total)
                self.changes.touch()
                await asyncio.sleep(resident.restarts.wait_s)
        except OrchestraError as error:
            log.error("model not loaded", model=model, because=error.message)
            held.error = error
        except Exception as error:
            log.exception("model not loaded", model=model)
            held.error = FailedPrecondition(
                f"model {model}", f"the node failed ({type(error).__name__}): see its log"
            )
        finally:
            # kill first: on cancellation nothing may be awaited before it
            if held.handle is not None:
                held.handle.kill()
            if self._held.get(model) is held:
                del self._held[model]
            self.changes.touch()

    def _claims(self, held: _Held) -> list[Claim]:
        """What all others were promised."""
        if self._room is None:
            return []
        others = [one for one in self._held.values() if one is not held and one.resident.device_ids]
        return [
            self._room.claimed(one.resident, one.handle.private_bytes() if one.handle else None)
            for one in others
        ]

    async def _verify(self, held: _Held) -> Weights:
        resident = held.resident

        def moved(done: int, total: int) -> None:
            resident.bytes_done, resident.bytes_total = done, total
            self.changes.touch()

        weights = await self._weights.check(resident.wanted, resident.engine, moved)
        resident.revision = weights.revision
        resident.quantization = resident.wanted.quantization or weights.quantization
        resident.bytes_total = weights.size
        return weights

    async def _one_process(self, held: _Held, weights: Weights) -> str:
        """Start a process and follow it to its end; why it ended. Raises FailedPrecondition when the
        first never served."""
        resident = held.resident
        resident.starts(uuid.uuid4().hex, time.time())
        resident.bytes_done = 0
        self.changes.touch()
        handle = held.handle = await self._starter.start(resident)
        watch = self._tasks.spawn(self._watch_loading(held, handle), name="load progress")
        why = ""
        try:
            async for report in handle.reports():
                why = note(resident, report, time.monotonic()) or why
                if report["at"] in ("loading", "moved") and not resident.engine_counts:
                    held.memory_before = handle.memory_bytes() or 0
                self.changes.touch()
            because = why or await handle.ended()
        finally:
            watch.cancel()
            handle.kill()
        if (
            resident.serving_since is None
            and resident.restarts.total == 0
            and resident.state is not State.DRAINING
        ):
            raise await self._not_started(held, because)
        return because

    async def _not_started(self, held: _Held, because: str) -> OrchestraError:
        """Why the first process never served."""
        resident = held.resident
        failure = resident.failure
        short = want_of_memory(because) if failure is None else _without_figures(failure)
        if short and self._room is not None:
            return await self._room.now(resident, lambda: self._claims(held))
        return failure or FailedPrecondition(
            f"model {resident.wanted.model}", f"its worker did not start: {resident.reason or because}"
        )

    async def _watch_loading(self, held: _Held, handle: WorkerHandle) -> None:
        resident = held.resident
        give_up = time.monotonic() + self._load_timeout_s
        while resident.state is State.STARTING:
            if time.monotonic() > give_up:
                resident.reason = f"not ready after {self._load_timeout_s:g} s"
                handle.kill()
                return
            counted = resident.engine_counts
            loading = resident.stage is Stage.LOADING_WEIGHTS and not counted
            if loading and (memory := handle.memory_bytes()) is not None:
                # the file is mapped: what is loaded is resident
                loaded = max(0, memory - held.memory_before)
                resident.bytes_done = min(loaded, resident.bytes_total or loaded)
                self.changes.touch()
            await asyncio.sleep(_LOADING_EVERY_S)

    async def unload(self, model: str, drain_s: float) -> Unloaded:
        """Drain for at most `drain_s` seconds, end the process, return when it is gone.

        Nothing to unload is no error.
        """
        held = self._held.get(model)
        if held is None or held.task is None:
            return Unloaded(was_loaded=False)
        held.resident.state = State.DRAINING
        held.resident.reason = "unloading"
        log.info("unloading", model=model, drain_s=drain_s)
        self.changes.touch()
        memory = self.memory_of(model)
        if held.handle is not None and held.resident.address:
            held.handle.drain(drain_s)
            await asyncio.wait([held.task], timeout=drain_s + 5.0)
        held.task.cancel()
        await asyncio.wait([held.task])
        if held.handle is not None:
            await held.handle.ended()
        return Unloaded(True, memory, held.resident.cut_calls)

    async def close(self, drain_s: float) -> None:
        """Unload everything, all at the same time."""
        await asyncio.gather(*(self.unload(model, drain_s) for model in list(self._held)))
        await self._tasks.close()


def _without_figures(failure: OrchestraError) -> bool:
    """Whether memory ran out for somebody who does not know how much there is."""
    figures = {"needed_bytes", "free_bytes"}
    return isinstance(failure, InsufficientMemory) and not figures <= failure.metadata.keys()
