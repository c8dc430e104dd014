"""All samples of one request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from orchestra_errors import NoCapacity, OrchestraError
from orchestra_inference_node.domain.admission import Rank
from orchestra_inference_node.domain.drawing import Draw
from orchestra_inference_node.flows.sample import Began, Ended, SampleEvent, SampleFlow, Spent
from orchestra_inference_node.flows.slots import Place
from orchestra_inference_node.ports import Outputs

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
    """A request that was found right. Its draws differ in their seeds alone."""

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
        self._refuse_late(job)
        place = self.samples.slots.enter(job.rank, job.deadline)
        try:
            events = self._alone(job.samples[0], place) if job.alone else self._together(job, place)
            async with aclosing(events):
                async for event in events:
                    yield event
        finally:
            place.leave()

    def _refuse_late(self, job: Job) -> None:
        """Raises NoCapacity when not even the first token can come before the deadline."""
        if job.deadline is None:
            return
        prompt = len(job.samples[0].draw.prompt_ids)
        needed = self.samples.until_first_token(prompt, job.rank, job.deadline)
        if self.samples.clock() + needed > job.deadline:
            raise NoCapacity(self.samples.slots.model, retry_after=max(1.0, round(needed, 1)))

    async def _alone(self, sample: Sample, place: Place) -> AsyncGenerator[RequestEvent]:
        yield sample, Began()
        async for waiting in self.samples.queued(place, sample.spent):
            yield sample, waiting
        (stream,) = self.samples.streams((sample.draw,))
        drawing = self.samples.draw(sample.sample_id, sample.draw, stream, place, sample.spent)
        async with aclosing(drawing):
            async for event in drawing:
                yield sample, event

    async def _together(self, job: Job, place: Place) -> AsyncGenerator[RequestEvent]:
        squad = _Squad(job, self.samples, self._unexpected)
        unfinished = len(job.samples)
        try:
            squad.start(place)
            while unfinished:
                event = await squad.ready.get()
                unfinished -= isinstance(event[1], Ended | Failed)
                yield event
        finally:
            await squad.close()


class _Squad:
    """The samples of one request on the slots that it gets.

    Whenever a slot is granted, those that are free besides are taken as well and the engine is given that
    many draws together, so that it computes the prompt once. A slot that a sample leaves goes to others that
    wait first; then the next of ours finds the prompt in it. Where forks do not keep it, only the one that
    led them goes on, with the slots that are free by then.
    """

    def __init__(
        self, job: Job, samples: SampleFlow, unexpected: Callable[[Exception], OrchestraError]
    ) -> None:
        self.ready: asyncio.Queue[RequestEvent] = asyncio.Queue(_READY)
        self._job = job
        self._samples = samples
        self._unexpected = unexpected
        self._left = deque(job.samples)
        self._computed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._places: set[Place] = set()
        self._unread: set[Outputs] = set()

    def start(self, place: Place) -> None:
        """Begin with a place, granted or not."""
        self._places.add(place)
        self._spawn(self._lead(place))

    async def close(self) -> None:
        """End what runs and give everything back.

        A task that never ran closed no stream, and draws of one prompt may end only together.
        """
        for task in self._tasks:
            task.cancel()
        unread = [stream.aclose() for stream in self._unread]
        await asyncio.gather(*self._tasks, *unread, return_exceptions=True)
        for place in self._places:
            place.leave()

    def _spawn(self, work: AsyncGenerator[RequestEvent], *, goes_on: bool = True) -> None:
        task = asyncio.create_task(self._work(work, goes_on=goes_on), name="sample")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, first: AsyncGenerator[RequestEvent], *, goes_on: bool = True) -> None:
        await self._pass_on(first)
        slots = self._samples.slots
        while goes_on and self._left:
            # the limit of the queue is on requests, and this one is in
            place = slots.enter(self._job.rank, self._job.deadline, in_already=True)
            self._places.add(place)
            await self._pass_on(self._lead(place))

    async def _pass_on(self, events: AsyncGenerator[RequestEvent]) -> None:
        async with aclosing(events):
            async for event in events:
                await self.ready.put(event)

    async def _lead(self, place: Place) -> AsyncGenerator[RequestEvent]:
        """Wait for the place, then draw on it and on what is free besides."""
        sample = self._left.popleft()
        gang = [sample]
        try:
            yield sample, Began()
            async for waiting in self._samples.queued(place, sample.spent):
                yield sample, waiting
            slots = self._samples.slots
            most = min(len(self._left), slots.admission.slots - len(self._tasks))
            places = [place, *slots.spare(self._job.rank, most)]
            self._places.update(places)
            gang += [self._left.popleft() for _ in places[1:]]
            streams = self._samples.streams(self._draws(gang))
            self._unread.update(streams)
        except Exception as error:
            for one in gang:
                yield one, self._failed(one, error)
            return
        for one, stream, own in list(zip(gang, streams, places, strict=True))[1:]:
            self._spawn(self._follow(one, stream, own), goes_on=not self._samples.engine.facts.forks)
        async for event in self._draw(sample, streams[0], place):
            yield event

    def _draws(self, gang: list[Sample]) -> tuple[Draw, ...]:
        """The first ones compute the prompt, and the later ones find it."""
        draws = tuple(one.draw for one in gang)
        if self._computed:
            return tuple(replace(draw, fresh=False) for draw in draws)
        self._computed = True
        return draws

    async def _follow(self, sample: Sample, stream: Outputs, place: Place) -> AsyncGenerator[RequestEvent]:
        yield sample, Began()
        async for event in self._draw(sample, stream, place):
            yield event

    async def _draw(self, sample: Sample, stream: Outputs, place: Place) -> AsyncGenerator[RequestEvent]:
        self._unread.discard(stream)
        drawing = self._samples.draw(sample.sample_id, sample.draw, stream, place, sample.spent)
        try:
            async with aclosing(drawing):
                async for event in drawing:
                    yield sample, event
        except Exception as error:
            yield sample, self._failed(sample, error)
        finally:
            self._places.discard(place)

    def _failed(self, sample: Sample, error: Exception) -> Failed:
        kind = error if isinstance(error, OrchestraError) else self._unexpected(error)
        return Failed(kind, sample.spent)
