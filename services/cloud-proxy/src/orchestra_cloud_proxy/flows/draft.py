"""One sample in the making: from what a provider says to the events of the contract."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from orchestra.generation.v1 import event_pb2, provenance_pb2, routing_pb2, usage_pb2
from orchestra_cloud_proxy.domain.chunk import Chunk, Finish, Tokens
from orchestra_cloud_proxy.flows.job import Job
from orchestra_cloud_proxy.flows.wording import FINISH, TIERS, append, to_usage
from orchestra_cloud_proxy.ports import Clock
from orchestra_requests import sampling_defaults

Event = event_pb2.GenerationEvent


class Draft:
    """Keeps what became known, however the sample ends. `revision`, `usage` and `finish` are what the
    provider said so far; `free`: it is certain that the running try has consumed nothing."""

    def __init__(self, job: Job, index: int, price_version: str, clock: Clock) -> None:
        self.job = job
        self.index = index
        self.attempt_id = job.attempt_of(index)
        self.call = job.call_of(index)
        self.price_version = price_version
        self._clock = clock
        self._began = clock()
        self._arrived = usage_pb2.Timings()
        self._arrived.started_at.GetCurrentTime()
        self._queued_s: float | None = None
        self._first_token_s: float | None = None
        self.tries = 0
        self.opened = False
        self.free = True
        self.started = False
        self.spoke = False
        self.usage: Tokens | None = None
        self.finish: Finish | None = None
        self._stop_matched = ""
        self._revision = ""
        self._sample_id = uuid.uuid4().hex

    def leaves(self) -> None:
        """A try leaves for the provider."""
        self.free = False
        if self._queued_s is None:
            self._queued_s = self._clock() - self._began

    def again(self) -> None:
        """The try ended in nothing; another one follows."""
        self.usage = self.finish = None
        self._stop_matched = self._revision = ""
        self.free = True

    def begin(self) -> Iterator[Event]:
        """Started, unless it was said already."""
        if not self.started:
            self.started = True
            event = self._event()
            event.started.provenance.CopyFrom(self.provenance())
            yield event

    def waiting(self) -> Iterator[Event]:
        """A sign of life while nothing comes."""
        yield from self.begin()
        event = self._event()
        beat = event.heartbeat
        decoding = self.spoke
        beat.activity = event_pb2.ACTIVITY_DECODE if decoding else event_pb2.ACTIVITY_WAITING_FOR_PROVIDER
        beat.elapsed.FromMilliseconds(round((self._clock() - self._began) * 1000))
        yield event

    def take(self, chunks: Sequence[Chunk]) -> Iterator[Event]:
        """Events of everything that came at once; pieces of one sort that follow each other are one event."""
        for chunk in chunks:
            self.usage = chunk.usage or self.usage
            self.finish = chunk.finish or self.finish
            self._stop_matched = chunk.stop_matched or self._stop_matched
            self._revision = chunk.revision or self._revision
        spoken = [chunk for chunk in chunks if chunk.speaks or chunk.probs]
        yield from self.begin()
        if not spoken:
            return
        self.spoke = True
        if self._first_token_s is None:
            self._first_token_s = self._clock() - self._began
        events: list[Event] = []
        for chunk in spoken:
            append(events, chunk, self._event)
        yield from events

    def end(self, cost: usage_pb2.Cost) -> Event:
        """Finished. Needs a finish."""
        assert self.finish is not None
        event = self._event()
        done = event.finished
        done.reason = FINISH[self.finish]
        if self.finish is Finish.LENGTH:
            done.reason = self._whose_length()
        if self.usage is not None:
            done.usage.CopyFrom(to_usage(self.usage))
        done.cost.CopyFrom(cost)
        done.timings.CopyFrom(self.timings())
        done.provenance.CopyFrom(self.provenance())
        done.stop_matched = self._stop_matched
        return event

    def _whose_length(self) -> event_pb2.FinishReason.ValueType:
        bound = self.call.max_tokens
        used = self.usage.completion if self.usage is not None else None
        if bound is not None and (used is None or used >= bound):
            return event_pb2.FINISH_REASON_MAX_TOKENS
        return event_pb2.FINISH_REASON_CONTEXT_FULL

    @property
    def reason(self) -> event_pb2.FinishReason.ValueType:
        if self.finish is None:
            return event_pb2.FINISH_REASON_UNSPECIFIED
        return self._whose_length() if self.finish is Finish.LENGTH else FINISH[self.finish]

    def timings(self) -> usage_pb2.Timings:
        timings = usage_pb2.Timings()
        timings.CopyFrom(self._arrived)
        timings.total.FromMicroseconds(round((self._clock() - self._began) * 1e6))
        if self._queued_s is not None:
            timings.queued.FromMicroseconds(round(self._queued_s * 1e6))
        if self._first_token_s is not None:
            timings.to_first_token.FromMicroseconds(round(self._first_token_s * 1e6))
        return timings

    @property
    def sample_id(self) -> str:
        return self._sample_id

    @property
    def revision(self) -> str:
        return self._revision

    def provenance(self) -> provenance_pb2.Provenance:
        """What is known now."""
        job, offering = self.job, self.job.offering
        provenance = provenance_pb2.Provenance(
            sample_id=self._sample_id,
            request_id=job.request_id,
            attempt_id=self.attempt_id,
            model=offering.model,
            provider=offering.provider,
            provider_model=offering.provider_model,
            tier=TIERS.get(offering.tier, routing_pb2.TIER_UNSPECIFIED),
            revision=self._revision,
            sampling=sampling_defaults(job.generation.sampling),
            price_version=self.price_version,
            phase=job.generation.phase,
            run_id=job.generation.run_id,
            trace_id=job.trace_id,
            drawn_at=self._arrived.started_at,
        )
        if self.call.seed is not None:
            provenance.sampling.seed = self.call.seed
        provenance.sampling.ClearField("n")
        return provenance

    def _event(self) -> Event:
        return Event(sample_index=self.index)
