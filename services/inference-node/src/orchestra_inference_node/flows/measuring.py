"""Measuring a loaded model through its own worker, and keeping what was found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

import structlog

from orchestra_errors import FailedPrecondition, Unavailable
from orchestra_inference_node.domain.measuring import Figures, LoadedAs, Rounds, loaded_as
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.flows.gauges import Gauges
from orchestra_inference_node.flows.measuring_steps import MeasuringSteps
from orchestra_inference_node.ports import Probe, SpeedStore

_RETRY_S = 1.0
# how often a caller who waits for a long step hears that it goes on
_BEAT_S = 5.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Progress:
    """`activity` is what runs now, empty at the end."""

    figures: Figures
    activity: str
    done: int
    total: int


class Measuring:
    """One measurement at a time on a device: two would measure each other."""

    def __init__(
        self,
        *,
        find: Callable[[str], Resident],
        probe_of: Callable[[Resident], Probe],
        gauges: Gauges,
        store: SpeedStore,
        changes: Changes,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`find` raises NotFound."""
        self._find = find
        self._probe_of = probe_of
        self._gauges = gauges
        self._store = store
        self._changes = changes
        self._clock = clock
        self._wall = wall
        self._measured_now: dict[str, tuple[str, ...]] = {}

    def known(self, resident: Resident) -> Figures | None:
        """What was measured of the model as it is loaded now."""
        loaded = loaded_as(resident)
        return self._store.of(loaded) if loaded is not None else None

    async def measure(self, model: str, tokens: int, rounds: int) -> AsyncGenerator[Progress]:
        """Progress at every step; the last one is kept. Ending the iteration ends the measuring at once and
        keeps nothing.

        Raises NotFound, Unavailable when the model does not serve, FailedPrecondition while something is
        measured on its devices, Unsupported for a model that neither generates nor embeds, and whatever its
        worker answers.
        """
        resident = self._find(model)
        loaded = loaded_as(resident)
        if not resident.usable or loaded is None:
            why = f": {resident.reason}" if resident.reason else ""
            raise Unavailable(f"model {model} ({resident.state.value}{why})", retry_after=_RETRY_S)
        with self._alone(loaded):
            seen = Rounds()
            work = MeasuringSteps(resident, self._probe_of(resident), self._gauges, seen, tokens, self._clock)
            steps = list(work.steps(rounds))
            for done, (activity, run) in enumerate(steps):
                async with aclosing(_beats(run())) as beats:
                    async for _ in beats:
                        yield Progress(self._figures(seen, resident), activity, done, len(steps))
            figures = self._figures(seen, resident)
            await self._store.keep(loaded, figures)
            self._changes.touch()
            log.info("model measured", model=model, at=figures.at, watts=figures.watts)
            yield Progress(figures, "", len(steps), len(steps))

    def _figures(self, seen: Rounds, resident: Resident) -> Figures:
        return seen.figures(resident.load_s, self._wall())

    @contextmanager
    def _alone(self, loaded: LoadedAs) -> Iterator[None]:
        for other, devices in self._measured_now.items():
            if other == loaded.model:
                raise FailedPrecondition(f"model {other}", "is being measured already")
            if shared := set(devices) & set(loaded.device_ids):
                raise FailedPrecondition(
                    f"model {loaded.model}", f"{other} is being measured on {', '.join(sorted(shared))}"
                )
        self._measured_now[loaded.model] = loaded.device_ids
        try:
            yield
        finally:
            del self._measured_now[loaded.model]


async def _beats(work: Awaitable[None]) -> AsyncGenerator[None]:
    """Yields when the work begins and now and then until it is done. Raises what it raises; closing ends the
    work."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            yield
            await asyncio.wait([task], timeout=_BEAT_S)
        task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
