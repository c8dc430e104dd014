"""Values to protos. Pure."""

from __future__ import annotations

from orchestra.generation.v1 import routing_pb2
from orchestra.inference.v1 import node_pb2
from orchestra.router.v1 import router_service_pb2 as pb

from ..domain.choosing import Weighed
from ..domain.targets import Abilities, Target
from ..flows.explain import Explained, Listed
from ..flows.runs import RunSeen

TIERS: dict[str, routing_pb2.Tier.ValueType] = {
    "local": routing_pb2.TIER_LOCAL,
    "selective": routing_pb2.TIER_SELECTIVE,
    "premium": routing_pb2.TIER_PREMIUM,
}
_FLAGS = (
    "chat",
    "logprobs",
    "prompt_logprobs",
    "json_schema",
    "grammar",
    "token_ids_in",
    "token_ids_out",
    "tools",
    "images",
    "audio",
    "embeddings",
    "score",
)


def explained(seen: Explained) -> pb.ExplainRouteResponse:
    answer = pb.ExplainRouteResponse(
        candidates=[candidate(one, seen) for one in seen.choice.weighed],
        policy=seen.choice.policy,
        phase=seen.phase,
    )
    if seen.age_s is not None:
        answer.snapshot_age.FromNanoseconds(int(seen.age_s * 1e9))
    return answer


def candidate(one: Weighed, seen: Explained) -> pb.Candidate:
    target = one.target
    told = pb.Candidate(
        model=target.model,
        provider=target.provider,
        node_id=target.node_id,
        worker_id=target.worker_id,
        tier=TIERS.get(target.tier, routing_pb2.TIER_UNSPECIFIED),
        eligible=one.out is None,
        rank=one.rank,
        slots_free=target.slots_free,
        queued=target.queued,
    )
    if one.out is not None:
        told.reason, told.message = one.out.reason, one.out.message
    if one.scored is not None:
        told.score_source = one.scored.source
        if one.scored.value is not None:
            told.score = one.scored.value
    cost = seen.local_nanos.get(target.key) if target.local else one.likely_cost
    if cost is not None:
        told.estimated_cost_nanos = cost
    if (latency := seen.latency_s.get(target.key)) is not None:
        told.estimated_latency.FromNanoseconds(int(latency * 1e9))
    return told


def available_model(row: Listed) -> pb.AvailableModel:
    facts, targets = row.facts, row.targets
    serving = [target for target in targets if target.serving]
    shown = next(iter((*serving, *targets)), None)
    told = pb.AvailableModel(
        name=facts.name,
        aliases=facts.aliases,
        family=facts.family,
        tier=TIERS.get(shown.tier if shown else facts.tier, routing_pb2.TIER_UNSPECIFIED),
        provider=shown.provider if shown else facts.provider,
        replicas=sum(1 for target in serving if target.local),
        specialities=sorted(facts.specialities),
    )
    availability, why = _availability(row)
    told.availability, told.availability_reason = availability, why
    if shown is not None:
        told.revision = shown.revision
        if shown.abilities.known:
            told.capabilities.CopyFrom(_capabilities(shown.abilities))
    if speeds := [speed for target in serving if (speed := target.speed_seen) is not None]:
        told.tokens_per_second = max(speeds)
    return told


def _availability(row: Listed) -> tuple[pb.Availability.ValueType, str]:
    states = {target.state for target in row.targets if not target.serving}
    if any(target.serving for target in row.targets):
        return pb.AVAILABILITY_SERVING, ""
    why = "; ".join(_state(target) for target in row.targets)
    if states & {"loading", "starting", "wanted"}:
        return pb.AVAILABILITY_LOADING, why
    if row.targets:
        return pb.AVAILABILITY_FAILED, why
    if row.facts.tier == "local":
        return pb.AVAILABILITY_NOT_PLACED, "in the catalogue, placed on no node"
    return (
        pb.AVAILABILITY_NOT_CONFIGURED,
        f"no provider of the deployment offers it ({row.facts.provider} would)",
    )


def _state(target: Target) -> str:
    where = target.node_id or target.provider
    return (
        f"{target.state} at {where}: {target.state_reason}"
        if target.state_reason
        else f"{target.state} at {where}"
    )


def _capabilities(able: Abilities) -> node_pb2.Capabilities:
    told = node_pb2.Capabilities(
        context_tokens=able.context_tokens or 0,
        max_top_logprobs=able.max_top_logprobs or 0,
        max_n=able.max_n or 0,
        deterministic_seed=able.deterministic_seed,
        generate=able.generate,
    )
    for name in _FLAGS:
        setattr(told, name, name in able.can)
    return told


def run_of(seen: RunSeen) -> pb.Run:
    told = pb.Run(run_id=seen.run_id, tenant=seen.tenant, requests_running=seen.running)
    told.state = pb.RUN_STATE_RUNNING if seen.running else pb.RUN_STATE_IDLE
    if seen.cancelled is not None:
        told.state = pb.RUN_STATE_CANCELLED
        told.cancelled_at.FromNanoseconds(int(seen.cancelled.at * 1e9))
        told.cancel_reason = seen.cancelled.reason
    if seen.spent is not None:
        told.samples_finished = seen.spent.samples_finished
        told.samples_failed = seen.spent.samples_failed
        told.cost_nanos = seen.spent.cost_nanos
        told.completion_tokens = seen.spent.completion_tokens
        told.attempts_of_unknown_cost = seen.spent.attempts_of_unknown_cost
    return told
