"""What happens to a sample, as GenerationEvents."""

from __future__ import annotations

import time
from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from orchestra.generation.v1 import event_pb2 as ev
from orchestra.generation.v1 import routing_pb2, usage_pb2
from orchestra.generation.v1.provenance_pb2 import Provenance
from orchestra.generation.v1.request_pb2 import GenerationRequest, HopContext
from orchestra_inference_node.domain.drawing import EndReason, Piece
from orchestra_inference_node.flows.request import Failed, Sample
from orchestra_inference_node.flows.sample import Began, Ended, SampleEvent, Spent, Waiting, Working
from orchestra_inference_node.rpc.naming import of_generation
from orchestra_requests import sampling_defaults
from orchestra_rpc import pack_status

UNFINISHED_KEY = "orchestra-unfinished-bin"
# metadata has room for 8 KB
_MOST_UNFINISHED = 32
_REASONS = {
    EndReason.STOP: ev.FINISH_REASON_STOP,
    EndReason.STOP_SEQUENCE: ev.FINISH_REASON_STOP_SEQUENCE,
    EndReason.MAX_TOKENS: ev.FINISH_REASON_MAX_TOKENS,
    EndReason.CONTEXT_FULL: ev.FINISH_REASON_CONTEXT_FULL,
}


class Events:
    """Events of one request. `served` is the provenance that all samples of the worker share."""

    def __init__(
        self,
        served: Provenance,
        generation: GenerationRequest,
        hop: HopContext,
        trace_id: str,
        *,
        seeded: bool = True,
    ) -> None:
        """`seeded`: the engine draws by the seeds that samples were given."""
        self._seeded = seeded
        self._first_index = hop.first_sample_index
        self._base = Provenance()
        self._base.CopyFrom(served)
        self._base.request_id = generation.request_id
        self._base.attempt_id = hop.attempt_id
        self._base.tier = routing_pb2.TIER_LOCAL
        self._base.phase = generation.phase
        self._base.run_id = generation.run_id
        self._base.trace_id = trace_id
        self._base.sampling.CopyFrom(sampling_defaults(generation.sampling))
        self._base.sampling.top_logprobs = generation.sampling.top_logprobs
        self._began_at: dict[int, Timestamp] = {}

    def of(self, sample: Sample, event: SampleEvent | Failed) -> ev.GenerationEvent:
        """The contract's event for what happened."""
        out = ev.GenerationEvent(sample_index=sample.index)
        match event:
            case Piece():
                fill_delta(out.text_delta, event)
            case Began():
                self._began_at[sample.index] = _timestamp(time.time())
                self._fill_provenance(out.started.provenance, sample)
            case Waiting():
                beat = out.heartbeat
                beat.activity = ev.ACTIVITY_QUEUED
                beat.ahead = event.ahead
                beat.elapsed.CopyFrom(_duration(event.elapsed_s))
            case Working():
                _fill_working(out.heartbeat, event)
            case Ended():
                finished = out.finished
                finished.reason = _REASONS[event.end.reason]
                finished.stop_matched = event.end.stop_matched
                if event.end.prompt_logprobs is not None:
                    fill_delta(finished.prompt_logprobs, event.end.prompt_logprobs)
                _fill_usage(finished.usage, event.spent)
                self._fill_timings(finished.timings, sample, event.spent)
                self._fill_provenance(finished.provenance, sample)
                del self._began_at[sample.index]
            case Failed():
                failed = out.sample_failed
                failed.status.CopyFrom(pack_status(of_generation(event.error)))
                self._fill_consumed(failed, sample, event.spent)
                self._fill_provenance(failed.provenance, sample)
                self._began_at.pop(sample.index, None)
        return out

    def unfinished(self, samples: Iterable[Sample]) -> tuple[tuple[str, bytes], ...]:
        """Trailing metadata of a stream that breaks: what the samples consumed that began and have not
        ended."""
        consumed = []
        for sample in samples:
            if sample.index in self._began_at and sample.spent.prompt_tokens is not None:
                event = ev.GenerationEvent(sample_index=sample.index)
                self._fill_consumed(event.sample_failed, sample, sample.spent)
                consumed.append((UNFINISHED_KEY, event.SerializeToString()))
        return tuple(consumed[:_MOST_UNFINISHED])

    def _fill_consumed(self, out: ev.SampleFailed, sample: Sample, spent: Spent) -> None:
        _fill_usage(out.usage, spent)
        if sample.index in self._began_at:
            self._fill_timings(out.timings, sample, spent)

    def _fill_provenance(self, out: Provenance, sample: Sample) -> None:
        out.CopyFrom(self._base)
        out.sample_id = sample.sample_id
        if self._seeded:
            out.sampling.seed = sample.draw.seed
        if sample.index in self._began_at:
            out.drawn_at.CopyFrom(self._began_at[sample.index])

    def _fill_timings(self, out: usage_pb2.Timings, sample: Sample, spent: Spent) -> None:
        out.started_at.CopyFrom(self._began_at[sample.index])
        for field, seconds in (
            (out.queued, spent.queued_s),
            (out.to_first_token, spent.first_token_s),
            (out.total, spent.total_s),
            (out.device_share, spent.device_s),
        ):
            if seconds is not None:
                field.CopyFrom(_duration(seconds))


def fill_delta(out: ev.TextDelta, piece: Piece) -> None:
    """The tokens of a piece into a delta."""
    out.text = piece.text
    out.token_ids.extend(piece.token_ids)
    out.logprobs.extend(piece.logprobs)
    for top in piece.top:
        out.top_logprobs.add(token_ids=top.token_ids, logprobs=top.logprobs, texts=top.texts)


def _fill_working(out: ev.Heartbeat, event: Working) -> None:
    out.elapsed.CopyFrom(_duration(event.elapsed_s))
    if event.prefill is None:
        out.activity = ev.ACTIVITY_DECODE
        return
    out.activity = ev.ACTIVITY_PREFILL
    out.prompt_tokens_done = event.prefill.done
    out.prompt_tokens_total = event.prefill.total


def _fill_usage(out: usage_pb2.Usage, spent: Spent) -> None:
    out.SetInParent()
    if spent.prompt_tokens is not None:
        out.prompt_tokens = spent.prompt_tokens
    if spent.cached_prompt_tokens is not None:
        out.cached_prompt_tokens = spent.cached_prompt_tokens
    out.completion_tokens = spent.completion_tokens


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))
