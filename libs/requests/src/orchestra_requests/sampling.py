"""Sampling: ranges, neutral defaults, determinism."""

from __future__ import annotations

import json

from orchestra.generation.v1.request_pb2 import GenerationRequest
from orchestra.generation.v1.sampling_pb2 import Sampling
from orchestra_errors import Violations

MAX_N = 4096
MAX_TOP_LOGPROBS = 20
_NEUTRAL = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "n": 1,
}


def sampling_defaults(sampling: Sampling) -> Sampling:
    """A copy with every absent setting at the contract's neutral value.

    max_tokens, seed and prompt_logprobs stay absent when they are: there absence is a meaning of its own.
    """
    full = Sampling()
    full.CopyFrom(sampling)
    for name, value in _NEUTRAL.items():
        if not full.HasField(name):  # type: ignore[arg-type]
            setattr(full, name, value)
    return full


def is_neutral(sampling: Sampling, name: str) -> bool:
    """Whether the field `name` of a Sampling is absent or changes nothing."""
    value = getattr(sampling, name)
    field = Sampling.DESCRIPTOR.fields_by_name[name]
    if not field.has_presence:
        return not value
    return not sampling.HasField(name) or (name in _NEUTRAL and value == _NEUTRAL[name])  # type: ignore[arg-type]


def is_deterministic(generation: GenerationRequest) -> bool:
    """Whether the same request draws the same text again: greedy, or with a seed.

    What the engine promises about seeds (Capabilities.deterministic_seed) is the caller's to check.
    """
    sampling = generation.sampling
    greedy = sampling.HasField("temperature") and sampling.temperature == 0
    return greedy or sampling.HasField("seed")


def check_sampling(sampling: Sampling, v: Violations) -> None:
    """Note every setting that is out of range or does not fit another; NaN is out of every range."""
    _within(v, sampling, "temperature", 0, 5)
    if sampling.HasField("top_p"):
        v.require(0 < sampling.top_p <= 1, "top_p", f"must be above 0 and at most 1, is {sampling.top_p:g}")
    if sampling.HasField("top_k"):
        v.require(sampling.top_k >= 0, "top_k", f"must not be negative, is {sampling.top_k}")
    _within(v, sampling, "min_p", 0, 1)
    if sampling.HasField("repetition_penalty"):
        penalty = sampling.repetition_penalty
        v.require(0 < penalty < float("inf"), "repetition_penalty", f"must be above 0, is {penalty:g}")
    _within(v, sampling, "presence_penalty", -2, 2)
    _within(v, sampling, "frequency_penalty", -2, 2)
    if sampling.HasField("max_tokens"):
        v.require(sampling.max_tokens >= 1, "max_tokens", f"must be at least 1, is {sampling.max_tokens}")
    for i, stop in enumerate(sampling.stop):
        v.require(bool(stop), f"stop[{i}]", "must not be empty")
    for i, token in enumerate(sampling.stop_token_ids):
        v.require(token >= 0, f"stop_token_ids[{i}]", f"must not be negative, is {token}")
    _check_n(sampling, v)
    _check_logprobs(sampling, v)
    _check_constraint(sampling, v)


def _check_n(sampling: Sampling, v: Violations) -> None:
    if not sampling.HasField("n"):
        return
    in_range = v.require(1 <= sampling.n <= MAX_N, "n", f"must be 1 to {MAX_N:,}, is {sampling.n}")
    greedy = sampling.HasField("temperature") and sampling.temperature == 0
    if in_range and greedy:
        v.require(
            sampling.n == 1, "n", "must be 1 at temperature 0: more would be one answer counted several times"
        )


def _check_logprobs(sampling: Sampling, v: Violations) -> None:
    k = sampling.top_logprobs
    if v.require(0 <= k <= MAX_TOP_LOGPROBS, "top_logprobs", f"must be 0 to {MAX_TOP_LOGPROBS}, is {k}"):
        v.require(k == 0 or sampling.logprobs, "top_logprobs", "needs logprobs")
    if sampling.HasField("prompt_logprobs"):
        _within(v, sampling, "prompt_logprobs", 0, MAX_TOP_LOGPROBS)


def _check_constraint(sampling: Sampling, v: Violations) -> None:
    match sampling.WhichOneof("constraint"):
        case "json_schema":
            problem = json_object_problem(sampling.json_schema)
            v.require(problem is None, "json_schema", problem or "")
        case "grammar":
            v.require(bool(sampling.grammar.strip()), "grammar", "must not be empty")


def json_object_problem(text: str) -> str | None:
    """What keeps `text` from being a JSON object; None when it is one."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {error}"
    return None if isinstance(parsed, dict) else "must be a JSON object"


def _within(v: Violations, sampling: Sampling, name: str, low: float, high: float) -> None:
    if not sampling.HasField(name):  # type: ignore[arg-type]
        return
    value = getattr(sampling, name)
    v.require(low <= value <= high, name, f"must be {low:g} to {high:g}, is {value:g}")
