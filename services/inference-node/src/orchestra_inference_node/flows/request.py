"""All samples of one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from orchestra_errors import OrchestraError
from orchestra_inference_node.domain.admission import Rank
from orchestra_inference_node.domain.drawing import Draw
from orchestra_inference_node.flows.sample import Ended, SampleEvent, SampleFlow, Spent
from orchestra_inference_node.flows.slots import Place

# deltas that wait here keep their shape; behind them ready tokens merge
_READY = 32


@dataclass(slots=True)
class Sample:
    """One sample to draw. `index` counts over the whole request, `sample_id` is its own for ever."""

    index: int
    sample_id: str
    draw: Draw
    spent: Spent = field(default_factory=Spent)


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was found right."""

    samples: tuple[Sample, ...]
    rank: Rank
    deadline: float | None
    alone: bool
    """Only for a single sample: its failure is the request's."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The sample ended without being whole."""

    error: OrchestraError
    spent: Spent


RequestEvent = tuple[Sample, SampleEvent | Failed]


class RequestFlow:
    """Draws the samples of requests; as many at once as the engine has slots."""

    def __init__(self, samples: SampleFlow, unexpected: Callable[[Exception], OrchestraError]) -> None:
        """`unexpected` logs a failure that is no kind of ours and gives the kind to tell."""
        self.samples = samples
        self._unexpected = unexpected

    async def run(self, job: Job) -> AsyncGenerator[RequestEvent]:
        """Events of every sample: its own, then Ended or, unless it is alone, Failed.

        Raises NoCapacity before anything began, and for a sample alone whatever ended it.
        """
        place = self.samples.slots.enter(job.rank, job.deadline)
        try:
            events = self._one(job.samples[0], place) if job.alone else self._many(job, place)
            async with aclosing(events):
                async for event in events:
                    yield event
        finally:
            place.leave()

    async def _one(self, sample: Sample, place: Place) -> AsyncGenerator[RequestEvent]:
        drawing = self.samples.draw(sample.sample_id, sample.draw, place, sample.spent)
        async with aclosing(drawing):
            async for event in drawing:
                yield sample, event

    async def _many(self, job: Job, place: Place) -> AsyncGenerator[RequestEvent]:
        ready: asyncio.Queue[RequestEvent] = asyncio.Queue(_READY)
        left = iter(job.samples)
        unfinished = len(job.samples)

        async def work(place: Place | None) -> None:
            for sample in left:
                # the limit of the queue is on requests, and this one is in
                held = place or self.samples.slots.enter(job.rank, job.deadline, in_already=True)
                place = None
                await self._into(ready, sample, held)

        count = min(len(job.samples), self.samples.slots.admission.slots)
        places = [place, *[None] * (count - 1)]
        workers = [asyncio.create_task(work(held), name="sample") for held in places]
        try:
            while unfinished:
                event = await ready.get()
                unfinished -= isinstance(event[1], Ended | Failed)
                yield event
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _into(self, ready: asyncio.Queue[RequestEvent], sample: Sample, place: Place) -> None:
        try:
            async with aclosing(self._one(sample, place)) as events:
                async for event in events:
                    await ready.put(event)
        except Exception as error:
            kind = error if isinstance(error, OrchestraError) else self._unexpected(error)
            await ready.put((sample, Failed(kind, sample.spent)))
