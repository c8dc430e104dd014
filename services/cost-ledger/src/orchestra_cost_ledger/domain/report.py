"""Questions about spending and their answers."""

from __future__ import annotations

from dataclasses import dataclass

DIMENSIONS = ("tenant", "run", "phase", "tier", "provider", "model", "node", "state")
LABEL_PREFIX = "label:"


@dataclass(frozen=True, slots=True)
class CostFilter:
    """Empty fields match everything; `since` is included, `until` is not (microseconds)."""

    since: int | None = None
    until: int | None = None
    tenant: str = ""
    run_id: str = ""
    phase: str = ""
    tier: int = 0
    provider: str = ""
    model: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class CostQuery:
    """Sums by `group_by` (names of DIMENSIONS, or `label:NAME`) and by buckets of `bucket_us` from `since`
    on.
    """

    filter: CostFilter
    group_by: tuple[str, ...]
    bucket_us: int | None
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class CostSum:
    """One row of a report. Sums leave out what is not known and count it beside."""

    keys: tuple[str, ...]
    bucket_from: int | None
    attempts: int
    samples_finished: int
    samples_failed: int
    samples_from_cache: int
    cost_nanos: int
    saved_nanos: int
    attempts_of_unknown_cost: int
    prompt_tokens: int
    cached_prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    electricity_nanos: int
    hardware_nanos: int
    accepted_samples: int
    attempts_of_unknown_usage: int
