"""How eligible targets are ordered. A score says how good; what it is made of is said beside it."""

from __future__ import annotations

from dataclasses import dataclass

from .job import Job
from .speeds import own_speed, speed_source
from .targets import Load, ModelFacts, Target


@dataclass(frozen=True, slots=True)
class Score:
    """Larger is better; None: nothing is known to score by, and such a target comes after those with a
    score."""

    value: float | None
    source: str


def score(objective: str, job: Job, target: Target, facts: ModelFacts, load: Load, cost: int | None) -> Score:
    """`cost`: expected nano-dollars of one sample, None: not known."""
    match objective:
        case "speed":
            return Score(own_speed(target, load), speed_source(target, load))
        case "quality":
            return _quality(job, facts)
        case "specialization":
            return _specialization(job, facts)
        case "cost":
            return Score(
                None if cost is None else -float(cost), "minus the expected nano-dollars of one sample"
            )
        case _:
            return Score(
                -float(load.last_turn.get(target.model, -1)), "minus the number of the model's last turn"
            )


def _quality(job: Job, facts: ModelFacts) -> Score:
    ordinal = facts.quality.get(job.request_type, facts.quality.get(""))
    return Score(
        None if ordinal is None else float(ordinal), facts.quality_source or "no ranking names this model"
    )


def _specialization(job: Job, facts: ModelFacts) -> Score:
    wanted = job.request_type
    if not wanted:
        return Score(0.0, "no request_type given: every model is as good")
    return Score(float(wanted in facts.specialities), f"1 when {wanted} is among the model's specialities")


def order(target: Target, scored: Score, load: Load, now: float) -> tuple[float, float, float, float, str]:
    """Sort key, smallest first: just failed, then score, then work per slot, then speed, then name."""
    failing = float(load.failing.get(target.key, 0.0) > now)
    value = float("inf") if scored.value is None else -scored.value
    return (failing, value, load.share_taken(target), -(own_speed(target, load) or 0.0), target.key)
