"""Values of the domain in the contract's words."""

from __future__ import annotations

from collections.abc import Callable

from orchestra.generation.v1 import event_pb2, routing_pb2, usage_pb2
from orchestra_cloud_proxy.domain.chunk import Chunk, Finish, Tokens

Event = event_pb2.GenerationEvent

TIERS: dict[str, routing_pb2.Tier.ValueType] = {
    "local": routing_pb2.TIER_LOCAL,
    "selective": routing_pb2.TIER_SELECTIVE,
    "premium": routing_pb2.TIER_PREMIUM,
}
FINISH: dict[Finish, event_pb2.FinishReason.ValueType] = {
    Finish.STOP: event_pb2.FINISH_REASON_STOP,
    Finish.STOP_SEQUENCE: event_pb2.FINISH_REASON_STOP_SEQUENCE,
    Finish.LENGTH: event_pb2.FINISH_REASON_MAX_TOKENS,
    Finish.TOOL_CALLS: event_pb2.FINISH_REASON_TOOL_CALLS,
    Finish.CONTENT_FILTER: event_pb2.FINISH_REASON_CONTENT_FILTER,
    Finish.REFUSAL: event_pb2.FINISH_REASON_REFUSAL,
}


def to_usage(tokens: Tokens) -> usage_pb2.Usage:
    """What is None stays absent."""
    usage = usage_pb2.Usage()
    if tokens.prompt is not None:
        usage.prompt_tokens = tokens.prompt
    if tokens.cached is not None:
        usage.cached_prompt_tokens = tokens.cached
    if tokens.completion is not None:
        usage.completion_tokens = tokens.completion
    if tokens.reasoning is not None:
        usage.reasoning_tokens = tokens.reasoning
    return usage


def append(events: list[Event], chunk: Chunk, fresh: Callable[[], Event]) -> None:
    """Add what a chunk says; text after text, and thought after thought, joins the last event."""
    last = events[-1].WhichOneof("event") if events else None
    if chunk.reasoning:
        if last != "reasoning_delta":
            events.append(fresh())
        events[-1].reasoning_delta.text += chunk.reasoning
        last = "reasoning_delta"
    if chunk.text or chunk.probs:
        if last != "text_delta":
            events.append(fresh())
        delta = events[-1].text_delta
        delta.text += chunk.text
        for prob in chunk.probs:
            delta.logprobs.append(prob.logprob)
            if prob.top:
                delta.top_logprobs.add(
                    texts=[text for text, _ in prob.top], logprobs=[value for _, value in prob.top]
                )
    for piece in chunk.tools:
        call = _same_call(events, piece.index) if not piece.id else None
        if call is None:
            events.append(fresh())
            call = events[-1].tool_call_delta
            call.call_index, call.id, call.name = piece.index, piece.id, piece.name
        call.arguments_json += piece.arguments


def _same_call(events: list[Event], index: int) -> event_pb2.ToolCallDelta | None:
    if not events or events[-1].WhichOneof("event") != "tool_call_delta":
        return None
    delta = events[-1].tool_call_delta
    return delta if delta.call_index == index else None
