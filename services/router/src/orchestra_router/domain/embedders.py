"""Which workers embed: a snapshot in, ranked targets out, or why there is none."""

from __future__ import annotations

from orchestra_errors import (
    InvalidRequest,
    NoEligibleTarget,
    NotYet,
    OrchestraError,
    PermissionDenied,
    Unavailable,
    Unsupported,
)

from .eligibility import standing
from .targets import Load, Snapshot, Target

EMBEDDINGS = "embeddings"
RETRY_LOADING_S = 5.0


def embedders(
    model: str, variant: str, local_only: bool, seen: Snapshot, load: Load, now: float
) -> tuple[Target, ...]:
    """Targets that embed with one model, the best first: a vector of another model means something else.

    `model` empty: the only one that embeds. Raises InvalidRequest when there are several, NoEligibleTarget,
    Unavailable while it loads, Unsupported for a model that does not embed, PermissionDenied for a cloud
    model when the texts must stay.
    """
    if not model:
        model = _only_one(seen)
    there = [target for target in seen.of(model) if not variant or target.served_as == variant]
    local = [target for target in there if target.local]
    able = [target for target in local if _embeds(target)]
    if not able:
        raise _why_none(model, there, local, local_only)

    def rank(target: Target) -> tuple[bool, float, str]:
        return (load.failing.get(target.key, 0.0) > now, load.share_taken(target), target.key)

    return tuple(sorted(able, key=rank))


def _embeds(target: Target) -> bool:
    return standing(target) is None and EMBEDDINGS in target.abilities.can


def _only_one(seen: Snapshot) -> str:
    models = sorted({target.model for target in seen.targets if target.local and _embeds(target)})
    if len(models) > 1:
        raise InvalidRequest.of("model", f"must be set: {', '.join(models)} embed")
    if not models:
        placed = [target for target in seen.targets if target.local]
        raise NoEligibleTarget(EMBEDDINGS, [f"{target.model}: {_why_not(target)}" for target in placed])
    return models[0]


def _why_none(model: str, there: list[Target], local: list[Target], local_only: bool) -> OrchestraError:
    if not there:
        return NoEligibleTarget(f"{EMBEDDINGS} by {model}")
    if not local:
        if local_only:
            return PermissionDenied(f"embedding at {there[0].provider}", "local_only is set")
        return NotYet("embeddings of cloud models")
    if any(standing(target) is None for target in local):
        return Unsupported(EMBEDDINGS, model)
    return Unavailable(
        f"{model} ({'; '.join(_why_not(target) for target in local)})", retry_after=RETRY_LOADING_S
    )


def _why_not(target: Target) -> str:
    out = standing(target)
    return out.message if out is not None else "it does not embed"
