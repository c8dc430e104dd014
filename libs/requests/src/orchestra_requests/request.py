"""The whole request, every wrong field at once."""

from __future__ import annotations

from orchestra.generation.v1.request_pb2 import GenerationRequest
from orchestra_errors import Violations
from orchestra_requests.prompt import check_prompt, check_tools
from orchestra_requests.routing import check_cache, check_priority, check_routing
from orchestra_requests.sampling import check_sampling

MAX_ID = 128
MAX_LABELS = 32
MAX_LABEL = 256


def check_generation(request: GenerationRequest, *, max_prompt_bytes: int | None = None) -> Violations:
    """Everything that is wrong with `request` whoever answers it; empty when it is right.

    Field paths start at the GenerationRequest (`sampling.max_tokens`);
    `Violations.extend(found, prefix="generation.")` puts them under a caller's own message. What depends on
    the deployment (models, phases, capabilities, context length) is not looked at. Never raises.
    """
    v = Violations()
    check_prompt(request, v, max_prompt_bytes=max_prompt_bytes)
    check_tools(request, v)
    sampling = Violations()
    check_sampling(request.sampling, sampling)
    v.extend(sampling, "sampling.")
    routing = Violations()
    check_routing(request.routing, routing)
    v.extend(routing, "routing.")
    cache = Violations()
    check_cache(request.cache, cache)
    v.extend(cache, "cache.")
    check_priority(request.priority, v)
    for field in ("request_id", "rollout_id", "conversation_id", "run_id", "phase"):
        length = len(getattr(request, field))
        v.require(length <= MAX_ID, field, f"has {length} characters, at most {MAX_ID} are allowed")
    _check_labels(request, v)
    if request.HasField("diversity_target"):
        target, n = request.diversity_target, request.sampling.n if request.sampling.HasField("n") else 1
        v.require(1 <= target <= max(n, 1), "diversity_target", f"must be 1 to n ({n}), is {target:g}")
    return v


def _check_labels(request: GenerationRequest, v: Violations) -> None:
    count = len(request.labels)
    v.require(count <= MAX_LABELS, "labels", f"has {count} entries, at most {MAX_LABELS} are allowed")
    for key, value in list(request.labels.items())[:MAX_LABELS]:
        at = f"labels[{key[:32]!r}]"
        v.require(bool(key), at, "key must not be empty")
        v.require(max(len(key), len(value)) <= MAX_LABEL, at, f"at most {MAX_LABEL} characters are allowed")
