"""The contract's events as typed events, and samples put together from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestra.generation.v1 import event_pb2
from orchestra_errors import DataLoss, OrchestraError
from orchestra_rpc import unpack_status

from .events import Event, Failed, Finished, Heartbeat, ReasoningDelta, Started, TextDelta, ToolCallDelta
from .sample import FinishReason, Sample, ToolCall

if TYPE_CHECKING:
    from orchestra.generation.v1.provenance_pb2 import Provenance

_REASONS = {event_pb2.FinishReason.Value(f"FINISH_REASON_{reason.name}"): reason for reason in FinishReason}


@dataclass(slots=True)
class _Draft:
    """A sample that is being written."""

    provenance: Provenance | None = None
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[event_pb2.TopLogprobs] = field(default_factory=list)
    calls: dict[int, tuple[list[str], list[str], list[str]]] = field(default_factory=dict)


class Reader:
    """Of one request's events. Holds the samples that are being written, and nothing of those that ended.

    `expected` samples must end; None where their number is the mesh's choice.
    """

    def __init__(self, expected: int | None = None) -> None:
        self._expected = expected
        self._drafts: dict[int, _Draft] = {}
        self.ended = 0

    def read(self, event: event_pb2.GenerationEvent) -> Event | None:
        """None for an event of a kind that only a newer mesh knows."""
        index = event.sample_index
        kind = event.WhichOneof("event")
        if kind == "text_delta":
            return self._text(index, event.text_delta)
        if kind == "started":
            again = index in self._drafts
            self._drafts[index] = _Draft(event.started.provenance)
            return Started(index, event.started.provenance, again)
        if kind == "finished":
            return Finished(index, self._finished(index, event.finished))
        if kind == "sample_failed":
            return self._failed(index, event.sample_failed)
        if kind == "heartbeat":
            return _heartbeat(index, event.heartbeat)
        draft = self._drafts.setdefault(index, _Draft())
        if kind == "reasoning_delta":
            draft.reasoning.append(event.reasoning_delta.text)
            return ReasoningDelta(index, event.reasoning_delta.text)
        if kind == "tool_call_delta":
            call = event.tool_call_delta
            identity, name, arguments = draft.calls.setdefault(call.call_index, ([], [], []))
            identity.append(call.id)
            name.append(call.name)
            arguments.append(call.arguments_json)
            return ToolCallDelta(index, call.call_index, call.id, call.name, call.arguments_json)
        return None

    def close(self) -> None:
        """The stream has ended well. Raises DataLoss when a sample has not."""
        if self._drafts:
            torn = ", ".join(str(index) for index in sorted(self._drafts)[:8])
            raise DataLoss("stream", f"it ended before sample {torn} did")
        if self._expected is not None and self.ended < self._expected:
            raise DataLoss("stream", f"it ended after {self.ended} of {self._expected} samples")

    @property
    def done(self) -> bool:
        """Whether every expected sample has ended."""
        return self._expected is not None and self.ended >= self._expected

    def _text(self, index: int, delta: event_pb2.TextDelta) -> TextDelta:
        draft = self._drafts.get(index)
        if draft is None:
            draft = self._drafts[index] = _Draft()
        draft.text.append(delta.text)
        if delta.token_ids:
            draft.token_ids.extend(delta.token_ids)
        if delta.logprobs:
            draft.logprobs.extend(delta.logprobs)
        if delta.top_logprobs:
            draft.top_logprobs.extend(delta.top_logprobs)
        return TextDelta(index, delta.text, tuple(delta.token_ids), tuple(delta.logprobs))

    def _finished(self, index: int, end: event_pb2.Finished) -> Sample:
        draft = self._drafts.pop(index, None) or _Draft()
        self.ended += 1
        calls = (tuple("".join(part) for part in draft.calls[at]) for at in sorted(draft.calls))
        return Sample(
            index=index,
            text="".join(draft.text),
            finish_reason=_REASONS.get(end.reason, FinishReason.UNSPECIFIED),
            provenance=end.provenance,
            usage=end.usage,
            cost=end.cost,
            timings=end.timings,
            reasoning="".join(draft.reasoning),
            tool_calls=tuple(ToolCall(*call) for call in calls),
            token_ids=tuple(draft.token_ids),
            logprobs=tuple(draft.logprobs),
            top_logprobs=tuple(draft.top_logprobs),
            prompt_logprobs=end.prompt_logprobs if end.HasField("prompt_logprobs") else None,
            stop_matched=end.stop_matched,
        )

    def _failed(self, index: int, end: event_pb2.SampleFailed) -> Failed:
        draft = self._drafts.pop(index, None) or _Draft()
        self.ended += 1
        error: OrchestraError = unpack_status(end.status)
        provenance = end.provenance
        if not end.HasField("provenance") and draft.provenance is not None:
            provenance = draft.provenance
        return Failed(index, error, "".join(draft.text), provenance, end.usage, end.cost)


def _heartbeat(index: int, beat: event_pb2.Heartbeat) -> Heartbeat:
    return Heartbeat(
        index=index,
        activity=event_pb2.Activity.Name(beat.activity).removeprefix("ACTIVITY_").lower(),
        elapsed=beat.elapsed.ToNanoseconds() / 1e9,
        done=beat.prompt_tokens_done if beat.HasField("prompt_tokens_done") else None,
        total=beat.prompt_tokens_total if beat.HasField("prompt_tokens_total") else None,
        ahead=beat.ahead if beat.HasField("ahead") else None,
    )
