"""What is asked: one prompt and how it is to be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

Prompt: TypeAlias = "str | Sequence[Mapping[str, Any]] | Sequence[int]"
"""A text, continued as it stands; or a conversation (`[{"role": "user", "content": "…"}]`), put through the
model's own template; or token ids of the model's own tokenizer."""


class Options(TypedDict, total=False):
    """Every wish that a call may carry. What is left out takes the mesh's neutral setting."""

    model: str
    candidates: Sequence[str]
    objective: str
    request_type: str
    tiers: Sequence[str]
    local_only: bool
    validation: bool
    complex: bool
    max_cost_nanos: int
    allow_substitution: bool
    allow_restart: bool
    allow_eliminated: bool
    fallback: Sequence[str]
    n: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    stop: Sequence[str]
    stop_token_ids: Sequence[int]
    seed: int
    logprobs: bool
    top_logprobs: int
    return_token_ids: bool
    prompt_logprobs: int
    json_schema: str | Mapping[str, Any]
    grammar: str
    request_id: str
    rollout_id: str
    conversation_id: str
    priority: str
    phase: str
    run_id: str
    labels: Mapping[str, str]
    cache: str
    cache_max_age: float
    cache_min_distinct: int
    distinct: bool
    diversity_target: float
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A prompt with its wishes. None is "not said", which the mesh answers with its neutral setting.

    Words for enums are lower case: `objective` speed, quality, specialization, cost or round_robin; `tiers`
    local, selective or premium; `priority` low, normal or high; `cache` use, read_only, write_only, refresh
    or bypass; `tool_choice` auto, none, required, or the name of a tool. `max_cost_nanos` is in nano-dollars
    per sample, `cache_max_age` and `timeout` in seconds. `json_schema` is a schema or its JSON text. `tools`
    are `{"name", "description", "parameters"}`.
    """

    prompt: Prompt
    model: str | None = None
    candidates: Sequence[str] | None = None
    objective: str | None = None
    request_type: str | None = None
    tiers: Sequence[str] | None = None
    local_only: bool | None = None
    validation: bool | None = None
    complex: bool | None = None
    max_cost_nanos: int | None = None
    allow_substitution: bool | None = None
    allow_restart: bool | None = None
    allow_eliminated: bool | None = None
    fallback: Sequence[str] | None = None
    n: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    return_token_ids: bool | None = None
    prompt_logprobs: int | None = None
    json_schema: str | Mapping[str, Any] | None = None
    grammar: str | None = None
    request_id: str | None = None
    rollout_id: str | None = None
    conversation_id: str | None = None
    priority: str | None = None
    phase: str | None = None
    run_id: str | None = None
    labels: Mapping[str, str] | None = None
    cache: str | None = None
    cache_max_age: float | None = None
    cache_min_distinct: int | None = None
    distinct: bool | None = None
    diversity_target: float | None = None
    tools: Sequence[Mapping[str, Any]] | None = None
    tool_choice: str | None = None
    timeout: float | None = None
