"""One attempt: samples of an item at one target, from the first event to what is left to do elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from orchestra.generation.v1 import event_pb2, provenance_pb2
from orchestra_errors import OrchestraError, UpstreamFailed, UpstreamKind, WorkerLost
from orchestra_rpc import unpack_status

from ..domain.targets import Target
from ..ports import Event, Prices, Take
from .bookkeeping import Books
from .item import Item
from .keeping import Keeping
from .pricing import complete_cost
from .stamping import failed_event, stamp_drawn

log = structlog.get_logger()


@dataclass(slots=True)
class _Sample:
    """How far one sample got at this target."""

    attempt_id: str
    held: Event | None = None
    """A Started that was not sent on yet: it waits for the next event, so that a target that begins and fails
    at once leaves no trace in the stream."""
    provenance: provenance_pb2.Provenance | None = None
    """Of its Started: the sample began here."""
    content: bool = False
    """Something of the answer was sent on; from then on it stays here."""
    ended: bool = False
    failed: OrchestraError | None = None
    consumed: event_pb2.SampleFailed | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the samples: indexes of those `finished`; `again`: may be tried elsewhere; `lost`: ended
    here without an answer; the latter two with why."""

    finished: tuple[int, ...] = ()
    again: Mapping[int, OrchestraError] = field(default_factory=dict)
    lost: Mapping[int, OrchestraError] = field(default_factory=dict)
    events: Mapping[int, Event] = field(default_factory=dict)
    """SampleFailed of the lost, with what is known of them."""


class Attempt:
    """Takes the target's events, sends on what the caller may see, and keeps the books."""

    def __init__(
        self,
        item: Item,
        target: Target,
        indexes: Iterable[int],
        number: int,
        *,
        emit: Take,
        keeping: Keeping,
        books: Books,
        prices: Prices,
    ) -> None:
        self.item = item
        self.target = target
        self._samples = {index: _Sample(item.attempt_id(index, number)) for index in indexes}
        self._emit = emit
        self._keeping = keeping
        self._books = books
        self._prices = prices

    @property
    def began(self) -> bool:
        """Whether any sample began here."""
        return any(sample.provenance is not None for sample in self._samples.values())

    def take(self, event: Event) -> None:
        """One event of the target."""
        sample = self._samples.get(event.sample_index)
        if sample is None or sample.ended:
            log.warning("event of no running sample", target=self.target.key, sample_index=event.sample_index)
            return
        kind = event.WhichOneof("event")
        if kind == "text_delta" or kind == "reasoning_delta" or kind == "tool_call_delta":
            if sample.held is not None:
                self._release(sample)
            sample.content = True
            self._send(event)
        elif kind == "started":
            stamp_drawn(event.started.provenance, self.item, self.target, sample.attempt_id)
            sample.provenance = event.started.provenance
            sample.held = event
        elif kind == "heartbeat":
            self._release(sample)
            self._emit(event)
        elif kind == "finished":
            self._finish(sample, event)
        elif kind == "sample_failed":
            sample.failed = unpack_status(event.sample_failed.status)
            sample.consumed = event.sample_failed

    def _release(self, sample: _Sample) -> None:
        if sample.held is not None:
            held, sample.held = sample.held, None
            self._send(held)

    def _send(self, event: Event) -> None:
        self._keeping.event(event)
        self._emit(event)

    def _finish(self, sample: _Sample, event: Event) -> None:
        self._release(sample)
        done = event.finished
        if not done.HasField("provenance") and sample.provenance is not None:
            done.provenance.CopyFrom(sample.provenance)
        stamp_drawn(done.provenance, self.item, self.target, sample.attempt_id)
        complete_cost(self._prices, self.target, done)
        sample.ended = True
        self._keeping.drawn(event.sample_index, self.target, done)
        self._books.finished(self.item, self.target, event.sample_index, sample.attempt_id, done)
        self._send(event)

    def end(self, error: OrchestraError | None, *, departed: bool = True) -> Outcome:
        """The target has said all, or failed as a whole with `error`. Call once.

        A sample that has sent nothing of its answer may go elsewhere when its error allows that; one that has
        may only when the request allows a restart. What never departed (no budget had room) may go elsewhere
        whatever its error is.
        """
        finished: list[int] = []
        again: dict[int, OrchestraError] = {}
        lost: dict[int, OrchestraError] = {}
        events: dict[int, Event] = {}
        restart = self.item.generation.routing.allow_restart
        for index, sample in self._samples.items():
            if sample.ended:
                finished.append(index)
                continue
            why = sample.failed or error or self._cut()
            sample.ended = True
            heals = why.may_move_on or not departed
            movable = heals and (restart or not sample.content) and self.item.stopped is None
            (again if movable else lost)[index] = why
            if not movable:
                events[index] = failed_event(index, why, sample.provenance, sample.consumed)
            if sample.provenance is not None or not movable:
                self._book_failure(index, sample, why)
        return Outcome(tuple(finished), again, lost, events)

    def abandon(self) -> None:
        """Nobody listens any more: what began and did not end is recorded, nothing is sent."""
        for index, sample in self._samples.items():
            if not sample.ended:
                sample.ended = True
                self._book_failure(index, sample, sample.failed or self.item.stopped)

    def _book_failure(self, index: int, sample: _Sample, why: OrchestraError | None) -> None:
        self._books.failed(
            self.item,
            self.target,
            index,
            sample.attempt_id,
            why,
            began=sample.provenance,
            consumed=sample.consumed,
        )

    def _cut(self) -> OrchestraError:
        if self.target.local:
            return WorkerLost(self.target.model, "its stream ended without Finished")
        return UpstreamFailed(
            self.target.provider,
            UpstreamKind.CUT,
            "the stream ended without Finished",
            model=self.target.model,
        )
