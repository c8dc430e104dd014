"""One answer, whole, with everything that is known of where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestra.generation.v1.event_pb2 import TextDelta as TextDeltaMessage
    from orchestra.generation.v1.event_pb2 import TopLogprobs
    from orchestra.generation.v1.provenance_pb2 import Provenance
    from orchestra.generation.v1.usage_pb2 import Cost, Timings, Usage


class FinishReason(StrEnum):
    """Why an answer ended."""

    UNSPECIFIED = "unspecified"
    STOP = "stop"
    """The model ended it."""
    STOP_SEQUENCE = "stop_sequence"
    """A stop text or token of the request."""
    MAX_TOKENS = "max_tokens"
    """The request's own bound."""
    CONTEXT_FULL = "context_full"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"


WHOLE = frozenset(
    {FinishReason.STOP, FinishReason.STOP_SEQUENCE, FinishReason.MAX_TOKENS, FinishReason.TOOL_CALLS}
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asked for; `arguments_json` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A finished draw.

    `provenance`, `usage`, `cost` and `timings` are the contract's own messages (nano-dollars, protobuf
    durations; an absent figure is not known, never zero). `token_ids` and `logprobs` (natural) are there when
    they were asked for, one per token of `text`.
    """

    index: int
    text: str
    finish_reason: FinishReason
    provenance: Provenance
    usage: Usage
    cost: Cost
    timings: Timings
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    top_logprobs: tuple[TopLogprobs, ...] = ()
    prompt_logprobs: TextDeltaMessage | None = None
    stop_matched: str = ""

    @property
    def sample_id(self) -> str:
        """Unique for each independent draw; a stored draw keeps its own."""
        return self.provenance.sample_id

    @property
    def model(self) -> str:
        return self.provenance.model

    @property
    def trace_id(self) -> str:
        return self.provenance.trace_id

    @property
    def request_id(self) -> str:
        return self.provenance.request_id

    @property
    def cost_nanos(self) -> int | None:
        """Nano-dollars; None when not known."""
        return self.cost.nanos if self.cost.HasField("nanos") else None

    @property
    def whole(self) -> bool:
        """Whether the answer ended by itself or at a bound that the request set."""
        return self.finish_reason in WHOLE

    def row(self, **more: Any) -> dict[str, Any]:
        """As a row of a dataset: plain JSON values, names as in the contract; `more` stands first."""
        from .rows import sample_row

        return more | sample_row(self)
