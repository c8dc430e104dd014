"""Questions about spending between messages and values."""

from __future__ import annotations

from orchestra.generation.v1 import routing_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
from orchestra.ledger.v1 import entry_pb2
from orchestra_cost_ledger.domain.budget import LOCAL
from orchestra_cost_ledger.domain.comparison import Comparison
from orchestra_cost_ledger.domain.report import DIMENSIONS, LABEL_PREFIX, CostFilter, CostQuery, CostSum
from orchestra_cost_ledger.rpc.moments import given_us, span, stamp
from orchestra_errors import Violations

_MOST_KEYS = 8
_NAMES: dict[str, dict[int, str]] = {
    "tier": {number: name for name, number in routing_pb2.Tier.items()},
    "state": {number: name for name, number in entry_pb2.EntryState.items()},
}


def to_query(request: pb.QueryCostsRequest, limit: int, offset: int) -> CostQuery:
    """Raises InvalidRequest with every violation."""
    found = Violations()
    chosen = _filter(request.filter, found)
    for name in request.group_by:
        label = name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX)
        known = ", ".join((*DIMENSIONS, "label:NAME"))
        found.require(label or name in DIMENSIONS, "group_by", f"{name!r} is none of {known}")
    found.require(len(request.group_by) <= _MOST_KEYS, "group_by", f"must be at most {_MOST_KEYS}")
    bucket_us = given_us(request, "bucket")
    found.require(bucket_us is None or bucket_us > 0, "bucket", "must be positive")
    found.raise_if_any()
    return CostQuery(
        filter=chosen,
        group_by=tuple(request.group_by),
        bucket_us=bucket_us,
        limit=limit,
        offset=offset,
    )


def to_comparison(request: pb.CompareCostsRequest) -> tuple[CostFilter, int | None]:
    """What was done here, and what the hardware cost. Raises InvalidRequest with every violation."""
    found = Violations()
    chosen = _filter(request.filter, found)
    local = chosen.provider in ("", LOCAL)
    found.require(local, "filter.provider", f"must be empty or {LOCAL!r}: local work is what is compared")
    hardware = request.hardware_nanos if request.HasField("hardware_nanos") else None
    found.require(hardware is None or hardware > 0, "hardware_nanos", f"must be positive, got {hardware}")
    found.raise_if_any()
    return chosen, hardware


def from_comparison(comparison: Comparison) -> pb.CompareCostsResponse:
    return pb.CompareCostsResponse(
        lines=[
            pb.ComparisonLine(label=line.label, nanos=line.nanos, formula=line.formula, note=line.note)
            for line in comparison.lines
        ],
        return_months=comparison.return_months,
    )


def from_sum(row: CostSum, query: CostQuery) -> entry_pb2.CostBucket:
    bucket = entry_pb2.CostBucket(
        keys=[_key(name, value) for name, value in zip(query.group_by, row.keys, strict=True)],
        attempts=row.attempts,
        samples_finished=row.samples_finished,
        samples_failed=row.samples_failed,
        samples_from_cache=row.samples_from_cache,
        cost_nanos=row.cost_nanos,
        saved_nanos=row.saved_nanos,
        attempts_of_unknown_cost=row.attempts_of_unknown_cost,
        prompt_tokens=row.prompt_tokens,
        cached_prompt_tokens=row.cached_prompt_tokens,
        completion_tokens=row.completion_tokens,
        reasoning_tokens=row.reasoning_tokens,
        electricity_nanos=row.electricity_nanos,
        hardware_nanos=row.hardware_nanos,
        accepted_samples=row.accepted_samples,
        attempts_of_unknown_usage=row.attempts_of_unknown_usage,
    )
    start = query.filter.since if row.bucket_from is None else row.bucket_from
    if (moment := stamp(start)) is not None:
        # `from` is a keyword of Python
        getattr(bucket, "from").CopyFrom(moment)
    length = query.bucket_us
    if length is None and query.filter.since is not None and query.filter.until is not None:
        length = query.filter.until - query.filter.since
    if length is not None:
        bucket.length.CopyFrom(span(length))
    return bucket


def _filter(match: pb.CostFilter, found: Violations) -> CostFilter:
    since, until = given_us(match, "from"), given_us(match, "until")
    if since is not None and until is not None:
        found.require(since < until, "filter.until", "must be after filter.from")
    found.require(match.tier in routing_pb2.Tier.values(), "filter.tier", f"{match.tier} is not a tier")
    return CostFilter(
        since,
        until,
        match.tenant,
        match.run_id,
        match.phase,
        match.tier,
        match.provider,
        match.model,
        match.request_id,
    )


def _key(name: str, value: str) -> str:
    """Tiers and states by their names in the contract."""
    if name not in _NAMES:
        return value
    return _NAMES[name].get(int(value), value)
