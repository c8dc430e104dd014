"""How one item is answered: stored draws first, the rest from the chosen target, elsewhere when that fails in
time.

The same story for a lone request and for each item of a batch; the road that it travels on makes the
difference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from orchestra.generation.v1 import request_pb2
from orchestra_errors import NoCapacity, OrchestraError, Unavailable, WrongInstance

from ..domain.choosing import Choice, Refusal, choose
from ..domain.choosing import Prices as Estimates
from ..domain.job import Job
from ..domain.ranges import runs
from ..domain.targets import Target
from ..ports import Event, Leg, Prices, Road, Snapshots, Take
from .attempt import Attempt, Outcome
from .bookkeeping import Books
from .deliveries import Deliveries
from .item import Item
from .keeping import Keeping
from .reserving import reserved
from .running import Running
from .stamping import failed_event, hop, waiting_event
from .storing import look_up, serve_stored
from .traffic import Traffic

log = structlog.get_logger()
PATIENCE_S = 2.0
"""The longest single wait for a full target."""
RESTARTED_S = 1.0


@dataclass(frozen=True, slots=True)
class Guide:
    """What every journey needs; one for the whole router."""

    snapshots: Snapshots
    prices: Prices
    estimates: Estimates
    traffic: Traffic
    running: Running
    deliveries: Deliveries
    books: Books
    max_attempts: int
    default_objective: str
    clock: Callable[[], float] = time.monotonic

    def weigh(self, job: Job) -> Choice | Refusal:
        """The choice for a job as things are now."""
        seen, load = self.snapshots.current(), self.traffic.load()
        return choose(job, seen, load, self.clock(), self.estimates, self.default_objective)


class Journey:
    """One item's way to its end."""

    def __init__(self, item: Item, road: Road, emit: Take, guide: Guide) -> None:
        self._item = item
        self._road = road
        self._emit_on = emit
        self._guide = guide
        self._keeping = Keeping(item)
        self._left = set(range(item.first, item.first + item.n))
        """Indexes without a terminal event yet."""
        self._told = False
        self._attempts = 0
        """Over the whole journey: names the attempts."""
        self._tries_left = guide.max_attempts
        self._tried: set[str] = set()
        self._model_begun = ""
        self._outcome = Outcome()

    async def run(self) -> AsyncGenerator[None, None]:
        """Hand every event to `emit`; yields whenever some were handed over. Closing it ends the work at
        once.

        A lone sample that fails raises; among several, and on a shared road, it is a SampleFailed.
        """
        with self._guide.running.hold(self._item):
            try:
                async with aclosing(self._stages()) as stages:
                    async for _ in stages:
                        yield
            except OrchestraError as error:
                if not self.tell(error):
                    raise
                yield
            finally:
                self._guide.deliveries.keep(self._item, self._keeping)

    def tell(self, error: OrchestraError) -> bool:
        """End every sample that is left with `error`; False when the caller has to learn it as the call's
        status."""
        if not self._road.shared and (self._item.n == 1 or not self._told):
            return False
        for index in sorted(self._left):
            self._emit(failed_event(index, error))
        self._left.clear()
        return True

    def _emit(self, event: Event) -> None:
        self._told = True
        self._emit_on(event)

    async def _stages(self) -> AsyncGenerator[None, None]:
        item = self._item
        target = self._next_target()
        found = await look_up(item, target, self._road.lookup)
        if found is not None and found.samples:
            served = serve_stored(
                item, found, emit=self._emit, keeping=self._keeping, books=self._guide.books
            )
            self._left -= set(range(item.first, item.first + served))
            yield
        while self._left:
            self._attempts += 1
            self._tries_left -= 1
            again: dict[int, OrchestraError] = {}
            for indexes in runs(self._left, target.abilities.max_n):
                async with aclosing(self._leg(target, indexes)) as pulses:
                    async for _ in pulses:
                        yield
                again |= self._outcome.again
                self._left.difference_update(self._outcome.finished)
                if self._outcome.lost:
                    self._lose(self._outcome.lost, final=not again)
                    yield
            if again:
                target = await self._move_on(target, next(iter(again.values())))

    def _next_target(self) -> Target:
        """The best target that was not tried yet. Raises why there is none."""
        if self._item.stopped is not None:
            raise self._item.stopped
        choice = self._guide.weigh(self._item.job)
        if isinstance(choice, Refusal):
            raise choice.error
        for target in choice.ranked:
            if target.key in self._tried:
                continue
            if (
                target.model != self._model_begun
                and self._model_begun
                and not self._item.job.allow_substitution
            ):
                continue
            self._model_begun = self._model_begun or target.model
            return target
        raise Unavailable(f"another target for {self._item.job.asked}")

    async def _leg(self, target: Target, indexes: range) -> AsyncGenerator[None, None]:
        """One call's worth; leaves what became of it in `self._outcome`."""
        item, guide = self._item, self._guide
        attempt = Attempt(
            item,
            target,
            indexes,
            self._attempts,
            emit=self._emit,
            keeping=self._keeping,
            books=guide.books,
            prices=guide.prices,
        )
        leg = self._prepared(target, indexes)
        error: OrchestraError | None = None
        departed = False
        ended = True
        guide.traffic.begin(target, len(indexes))
        try:
            async with reserved(self._road.reserve, item, leg, guide.deliveries, lambda: attempt.began):
                departed = True
                if not self._road.shared:
                    item.on_stop = leg.stop
                    if item.stopped is not None:
                        raise item.stopped
                async with aclosing(self._road.line.run(leg, attempt.take)) as pulses:
                    async for _ in pulses:
                        yield
        except OrchestraError as exc:
            error = exc
        except asyncio.CancelledError:
            # an aborted leg is read as cancelled, too; only a task that was told to end has to pass it on
            if item.stopped is None or _told_to_end():
                ended = False
                raise
            error = item.stopped
        except GeneratorExit:
            ended = False
            raise
        finally:
            guide.traffic.end(target, len(indexes))
            if ended:
                self._outcome = attempt.end(error, departed=departed)
                self._judge(target)
            else:
                attempt.abandon()

    def _prepared(self, target: Target, indexes: range) -> Leg:
        generation = request_pb2.GenerationRequest()
        generation.CopyFrom(self._item.generation)
        generation.request_id = self._item.request_id
        generation.phase = self._item.job.phase
        generation.sampling.n = len(indexes)
        # what the choice was made from means nothing to the one who was chosen
        generation.routing.Clear()
        generation.routing.model = target.served_as or target.model
        context = request_pb2.HopContext(
            attempt_id=self._item.attempt_id(indexes.start, self._attempts),
            attempts_left=self._tries_left + 1,
            expected_instance_id=target.instance_id,
            first_sample_index=indexes.start,
            tenant=self._item.tenant,
        )
        return Leg(target, generation, context)

    def _judge(self, target: Target) -> None:
        """A target that failed is tried last for a while; one that only was full is not blamed."""
        errors = [*self._outcome.again.values(), *self._outcome.lost.values()]
        if not errors:
            self._guide.traffic.worked(target)
        elif any(error.may_move_on and not isinstance(error, NoCapacity) for error in errors):
            self._guide.traffic.failed(target, self._guide.clock())

    def _lose(self, lost: Mapping[int, OrchestraError], *, final: bool) -> None:
        """Tell of samples that ended without an answer; raises for a lone sample, and when nothing else was
        told."""
        first = next(iter(lost.values()))
        nothing_else = final and not self._told and self._left <= lost.keys()
        if not self._road.shared and (self._item.n == 1 or nothing_else):
            raise first
        for index, error in lost.items():
            self._emit(self._outcome.events.get(index) or failed_event(index, error))
        self._left.difference_update(lost)

    async def _move_on(self, target: Target, error: OrchestraError) -> Target:
        """Where to go after a failure. Raises the failure when nobody is left."""
        item = self._item
        self._tried.add(target.key)
        item.hops.append(hop(target, item.attempt_id(item.first, self._attempts), error))
        log.info("moving on", request_id=item.request_id, target=target.key, reason=error.reason)
        if self._tries_left > 0:
            try:
                return self._next_target()
            except OrchestraError as nobody:
                if nobody is item.stopped:
                    raise
        if not (self._road.shared and isinstance(error, NoCapacity)):
            raise as_told(error, target)
        # in a batch a full queue is back-pressure, not a failure
        for index in sorted(self._left):
            self._emit(waiting_event(index))
        await asyncio.sleep(min(error.retry_after or PATIENCE_S, PATIENCE_S))
        self._tries_left = self._guide.max_attempts
        self._tried.clear()
        item.hops[:] = [one for one in item.hops if one.reason != error.reason]
        return self._next_target()


def as_told(error: OrchestraError, target: Target) -> OrchestraError:
    """Which process was meant is no business of the caller's: the worker has restarted and will be known
    soon."""
    if isinstance(error, WrongInstance):
        return Unavailable(f"{target.model} at {target.node_id} (it has just restarted)", RESTARTED_S)
    return error


def _told_to_end() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
