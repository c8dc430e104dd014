"""Whether a target may answer a job, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

from .job import Job
from .targets import Target

PREMIUM = "premium"
_STATES = {
    "loading": "the model is loading",
    "draining": "the worker takes nothing new",
    "wanted": "the model is wanted there but not loaded",
    "failed": "loading failed",
    "lost": "the node's lease has run out",
    "not_configured": "the provider is not configured",
}


@dataclass(frozen=True, slots=True)
class Out:
    """`reason` is the name of an error reason, `message` a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Known:
    """What else the rules look at: nano-dollars that one sample may cost at most (None: not known), and
    whether some local target has every capability that the job needs."""

    worst_cost: int | None = None
    local_can: bool = False


def why_out(job: Job, target: Target, known: Known) -> Out | None:
    """The first rule that excludes the target, or None."""
    return (
        _by_wish(job, target)
        or _by_verdict(job, target, known)
        or standing(target)
        or _by_ability(job, target)
        or _by_cost(job, target, known.worst_cost)
    )


def able(job: Job, target: Target) -> bool:
    """Whether the target serves and can do what the job needs, whatever the rules say."""
    return standing(target) is None and _by_ability(job, target) is None


def _wish(message: str) -> Out:
    return Out("NO_ELIGIBLE_TARGET", message)


def _by_wish(job: Job, target: Target) -> Out | None:
    if job.model and target.model != job.model:
        if not job.allow_substitution:
            return Out("SUBSTITUTION_REFUSED", f"only {job.model} may answer")
        if target.model not in job.fallback:
            return _wish(f"{job.model} was named, and this is none of its fallbacks")
    if job.variant and target.model == job.model and target.served_as != job.variant:
        return _wish(f"{job.variant} was named, this is {target.served_as or target.model}")
    if job.candidates and target.model not in (*job.candidates, *job.fallback):
        return _wish("not among the candidates")
    if job.local_only and not target.local:
        return Out("PERMISSION_DENIED", "the prompt must not leave the owner's machines")
    if job.tiers and target.tier not in job.tiers:
        return _wish(f"tier {target.tier} is not allowed")
    return None


def _by_verdict(job: Job, target: Target, known: Known) -> Out | None:
    rule = target.verdict
    if rule.needs_flag and not (target.model == job.model and job.allow_eliminated):
        return _wish("eliminated by the deployment: name it and set allow_eliminated")
    if job.names(target.model):
        return None
    if not rule.chosen and not (rule.fallback and target.model in job.fallback):
        return _wish(f"only for requests that name it ({rule.rule})")
    if target.tier == PREMIUM and not (job.validation or job.tiers or target.model in job.fallback):
        return _wish("premium models are for validation, or for requests that name them")
    return _by_conditions(job, target, known)


def _by_conditions(job: Job, target: Target, known: Known) -> Out | None:
    rule = target.verdict
    if rule.only_validation and not job.validation and target.model not in job.fallback:
        return _wish("only for validation")
    if rule.only_phase and job.phase != rule.only_phase:
        return _wish(f"only in phase {rule.only_phase}")
    if rule.only_complex and not job.complex:
        return _wish("only for requests marked complex")
    if rule.needs_price and known.worst_cost is None:
        return _wish("off until a price is set and the answer is bounded by max_tokens")
    if rule.only_missing_capability and known.local_can:
        return _wish("only for a capability that no local model has")
    if rule.above_prompt_tokens is not None and job.likely_prompt_tokens <= rule.above_prompt_tokens:
        return _wish(f"only for prompts over {rule.above_prompt_tokens} tokens")
    return None


def standing(target: Target) -> Out | None:
    """Why the target takes no work now; None when it does."""
    if not target.serving:
        why = _STATES.get(target.state, f"state {target.state}")
        return Out("UNAVAILABLE", f"{why}: {target.state_reason}" if target.state_reason else why)
    if target.local and not (target.instance_id and target.address):
        return Out("UNAVAILABLE", "its process is not known")
    return None


def _by_ability(job: Job, target: Target) -> Out | None:
    able = target.abilities
    if not able.generate:
        return Out("CAPABILITY_MISSING", "it does not generate")
    missing = sorted(job.needs - able.can) if able.known else []
    if missing:
        return Out("CAPABILITY_MISSING", f"cannot do {', '.join(missing)}")
    if able.max_top_logprobs is not None and job.top_logprobs > able.max_top_logprobs:
        return Out("CAPABILITY_MISSING", f"gives at most {able.max_top_logprobs} top_logprobs")
    if able.context_tokens and job.least_prompt_tokens >= able.context_tokens:
        return Out(
            "CAPABILITY_MISSING",
            f"{job.least_prompt_tokens} tokens of prompt or more do not fit into {able.context_tokens}",
        )
    return None


def _by_cost(job: Job, target: Target, worst_cost: int | None) -> Out | None:
    if job.max_cost_nanos is None or target.local:
        return None
    if worst_cost is None:
        return _wish("it cannot be said whether it stays within max_cost_nanos: no price, or no max_tokens")
    if worst_cost > job.max_cost_nanos:
        return Out(
            "BUDGET_EXCEEDED", f"may cost {worst_cost} nano-dollars, at most {job.max_cost_nanos} are allowed"
        )
    return None
