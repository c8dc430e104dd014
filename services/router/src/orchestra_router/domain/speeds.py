"""How fast a target would answer one more request.

Three figures may be known of a target. What somebody measured (MeasureModel, kept by its node) was taken in
the same way everywhere, at 1, 4 and 8 requests at once, so it compares targets and says what company costs.
The node's live figure of the last minute is the sum over however many requests ran then: it makes a busy
target look fast and is gone after an idle minute. So the measured one goes first, and the live one stands in
where nobody measured. What the catalogue declares is a promise, and ranks nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from .job import Job
from .targets import Load, Measured, Target

USUAL_ANSWER_TOKENS = 512
"""Taken for an estimate when a request does not bound its answer."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Of one sample, in seconds: until its end, and of the device's time for it alone."""

    latency_s: float
    device_s: float


def own_speed(target: Target, load: Load) -> float | None:
    """Tokens per second that one more request would get, also when it has to wait for a slot first; None:
    not known."""
    together = speed_together(target, load)
    return None if together is None else together / (load.work_at(target) + 1)


def speed_together(target: Target, load: Load) -> float | None:
    """Tokens per second of all that would run there, one more request included; None: not known."""
    if target.measured is not None and target.measured.at:
        return at_once(target.measured, min(load.work_at(target) + 1, max(1, target.slots_total)))
    return target.tokens_per_second


def speed_source(target: Target, load: Load) -> str:
    """Where `own_speed` comes from, for people."""
    there = f"{load.work_at(target)} there now"
    if target.measured is not None and target.measured.at:
        counts = ", ".join(str(parallel) for parallel, _ in target.measured.at)
        return f"tokens per second for one more request: measured at {counts} at once, {there}"
    if target.tokens_per_second is not None:
        return f"tokens per second for one more request: seen over the last minute, {there}; not measured"
    return "nobody measured its speed"


def at_once(measured: Measured, parallel: int) -> float:
    """Tokens per second of so many requests together: on the straight line between two that were measured,
    and beyond the last no more than that."""
    before = measured.at[0]
    for point in measured.at:
        if point[0] >= parallel:
            if point[0] == before[0]:
                return point[1]
            part = (parallel - before[0]) / (point[0] - before[0])
            return before[1] + part * (point[1] - before[1])
        before = point
    return before[1]


def expected(job: Job, target: Target, load: Load) -> Expected | None:
    """None for a target that nobody measured: from a live figure alone the wait for the first token is not
    known."""
    own, together = own_speed(target, load), speed_together(target, load)
    seen = target.measured
    if seen is None or seen.first_token_s is None or not own or not together:
        return None
    tokens = job.max_tokens or USUAL_ANSWER_TOKENS
    prefill_s = job.likely_prompt_tokens / seen.prefill_per_s if seen.prefill_per_s else 0.0
    return Expected(
        latency_s=seen.first_token_s + prefill_s + tokens / own,
        device_s=prefill_s + tokens / together,
    )
