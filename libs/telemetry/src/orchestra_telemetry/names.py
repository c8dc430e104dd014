"""Span names and attributes: the GenAI and RPC semantic conventions, and our own under `orchestra.`.

The GenAI conventions still move, so they are spelled here and nowhere else.
"""

from typing import Final

# RPC conventions
RPC_SYSTEM: Final = "rpc.system"
RPC_SERVICE: Final = "rpc.service"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS_CODE: Final = "rpc.grpc.status_code"
SERVER_ADDRESS: Final = "server.address"
ERROR_TYPE: Final = "error.type"

# GenAI conventions
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_SEED: Final = "gen_ai.request.seed"
GEN_AI_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_CONVERSATION: Final = "gen_ai.conversation.id"

OPERATION_CHAT: Final = "chat"
OPERATION_COMPLETION: Final = "text_completion"
OPERATION_EMBEDDINGS: Final = "embeddings"

# ours
ERROR_REASON: Final = "orchestra.error.reason"
REQUEST_ID: Final = "orchestra.request_id"
ATTEMPT_ID: Final = "orchestra.attempt_id"
SAMPLE_ID: Final = "orchestra.sample_id"
RUN: Final = "orchestra.run"
PHASE: Final = "orchestra.phase"
TIER: Final = "orchestra.tier"
NODE: Final = "orchestra.node"
ENGINE: Final = "orchestra.engine"
CACHE_STATE: Final = "orchestra.cache.state"
COST_NANOS: Final = "orchestra.cost_nanos"
FALLBACK_HOPS: Final = "orchestra.fallback.hops"
MESSAGES: Final = "orchestra.rpc.messages"
TIME_TO_FIRST: Final = "orchestra.rpc.time_to_first_message_s"


def generation_span(operation: str, model: str) -> str:
    """Name of a span around one model call: `chat smollm2-135m`."""
    return f"{operation} {model}"


def rpc_span(method: str) -> str:
    """Name of an RPC's span from its path: `/a.b.C/D` becomes `a.b.C/D`."""
    return method.lstrip("/")
