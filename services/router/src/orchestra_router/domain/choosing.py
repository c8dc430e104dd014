"""The choice: a snapshot in, ranked targets or a refusal out. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestra_errors import NoEligibleTarget, OrchestraError, Unavailable, Unsupported

from .eligibility import Known, Out, able, why_out
from .job import ROUND_ROBIN, Job
from .objectives import Score, order, score
from .targets import Load, Snapshot, Target

Estimate = Callable[[Job, Target], int | None]
"""Nano-dollars of one sample of the job at the target; None: not known."""
RETRY_LOADING_S = 5.0


@dataclass(frozen=True, slots=True)
class Weighed:
    """One target as it was weighed; `out` is None for an eligible one, which has a rank from 1."""

    target: Target
    out: Out | None
    scored: Score | None = None
    rank: int = 0
    likely_cost: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """`ranked` in the order in which they are tried."""

    ranked: tuple[Target, ...]
    weighed: tuple[Weighed, ...]
    objective: str
    policy: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody may answer; `error` says why, `weighed` why not each."""

    error: OrchestraError
    weighed: tuple[Weighed, ...]
    objective: str
    policy: str


@dataclass(frozen=True, slots=True)
class Prices:
    """How the choice learns what a sample costs: `likely` for scores, `worst` for bounds."""

    likely: Estimate
    worst: Estimate


def choose(
    job: Job, seen: Snapshot, load: Load, now: float, prices: Prices, default_objective: str = ROUND_ROBIN
) -> Choice | Refusal:
    """Rank the targets of `seen` for `job`.

    A named model comes first with all its replicas, then its fallbacks in their order; candidates, or all
    models when none is named, are ranked by the objective. Deterministic for equal input.
    """
    objective = job.objective or default_objective
    policy = _policy(job, objective)
    local_can = any(target.local and able(job, target) for target in seen.targets)
    keep: list[tuple[tuple[int, tuple[float, float, float, float, str]], Weighed]] = []
    out: list[Weighed] = []
    for target in seen.targets:
        facts = seen.facts(target.model)
        why = why_out(job, target, Known(prices.worst(job, target), local_can))
        likely = prices.likely(job, target)
        if why is not None:
            out.append(Weighed(target, why, likely_cost=likely))
            continue
        scored = score(objective, job, target, facts, load, likely)
        place = (_stage(job, target), order(target, scored, load, now))
        keep.append((place, Weighed(target, None, scored, likely_cost=likely)))
    keep.sort(key=lambda pair: pair[0])
    ranked = tuple(
        Weighed(one.target, None, one.scored, rank, one.likely_cost)
        for rank, (_, one) in enumerate(keep, start=1)
    )
    weighed = ranked + tuple(out)
    if not ranked:
        return Refusal(refusal(job, seen, out), weighed, objective, policy)
    return Choice(tuple(one.target for one in ranked), weighed, objective, policy)


def _stage(job: Job, target: Target) -> int:
    """0 for what was asked for, then the fallbacks in their order. Undirected requests take local models
    first."""
    if job.names(target.model):
        return 0
    if target.model in job.fallback:
        return 2 + job.fallback.index(target.model)
    if not job.directed and not job.validation and not target.local:
        return 1
    return 0


def _policy(job: Job, objective: str) -> str:
    if job.model:
        behind = f", then {', '.join(job.fallback)}" if job.fallback and job.allow_substitution else ""
        return f"the model named{behind}; its least loaded replica first"
    among = "the candidates" if job.candidates else "every eligible model"
    return f"{among} by {objective.replace('_', ' ')}"


def refusal(job: Job, seen: Snapshot, out: Sequence[Weighed]) -> OrchestraError:
    """Why nobody may answer, as the kind that tells the caller what helps."""
    named = [one for one in out if one.target.model == job.model or one.target.model in job.candidates]
    if not (job.model or job.candidates):
        named = list(out)
    if seen.heard_at is None and not named:
        return Unavailable(
            f"{job.asked} (the model-manager has not said yet where models are)", RETRY_LOADING_S
        )
    if not named:
        return NoEligibleTarget(job.asked, _substitutes(job, seen))
    reasons = {one.out.reason for one in named if one.out}
    lines = [f"{one.target.model} at {_where(one.target)}: {one.out.message}" for one in named if one.out]
    if reasons == {"UNAVAILABLE"}:
        coming = any(one.target.state in ("loading", "wanted", "lost") for one in named)
        return Unavailable(f"{job.asked} ({'; '.join(lines[:4])})", RETRY_LOADING_S if coming else None)
    if reasons == {"CAPABILITY_MISSING"} and job.model:
        return Unsupported(_missing(named), job.model)
    return NoEligibleTarget(job.asked, lines)


def _substitutes(job: Job, seen: Snapshot) -> list[str]:
    served = sorted({target.model for target in seen.targets if target.serving})
    return [f"{job.asked} is known and placed nowhere", f"served now: {', '.join(served) or 'nothing'}"]


def _where(target: Target) -> str:
    return target.node_id or target.provider


def _missing(named: Sequence[Weighed]) -> str:
    return "; ".join(sorted({one.out.message.removeprefix("cannot do ") for one in named if one.out}))
