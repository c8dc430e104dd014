"""Pure mapping between the contract and the flows' values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time

from google.protobuf import duration_pb2, timestamp_pb2

from orchestra.generation.v1 import routing_pb2
from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra.models.v1 import model_pb2
from orchestra_config import Catalogue, CatalogueModel, TrainingUse
from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.phases import PhasePlan
from orchestra_model_manager.domain.planning import Plan
from orchestra_model_manager.flows.phasing import PhaseNow
from orchestra_model_manager.flows.swap import SwapProgress

TIERS = {
    "local": routing_pb2.TIER_LOCAL,
    "together": routing_pb2.TIER_SELECTIVE,
    "premium": routing_pb2.TIER_PREMIUM,
}
_TRAINING = {
    "allowed": model_pb2.TRAINING_USE_KIND_ALLOWED,
    "validation_only": model_pb2.TRAINING_USE_KIND_VALIDATION_ONLY,
    "forbidden_by_terms": model_pb2.TRAINING_USE_KIND_FORBIDDEN,
    "unknown": model_pb2.TRAINING_USE_KIND_UNKNOWN,
}


def stamp(seconds: float) -> timestamp_pb2.Timestamp:
    """Epoch seconds to the millisecond."""
    made = timestamp_pb2.Timestamp()
    made.FromMilliseconds(int(seconds * 1000))
    return made


def span(seconds: float) -> duration_pb2.Duration:
    made = duration_pb2.Duration()
    made.FromMilliseconds(int(seconds * 1000))
    return made


def to_model(
    model: CatalogueModel, catalogue: Catalogue, name: str, placement_ids: Iterable[str]
) -> model_pb2.Model:
    """A catalogue entry. `name` is what placements call it."""
    made = model_pb2.Model(
        name=name,
        aliases=sorted(
            {key for key, value in catalogue.aliases.items() if value == model.name} | ({model.name} - {name})
        ),
        family=model.family,
        tier=TIERS[model.tiers[0]] if model.tiers else routing_pb2.TIER_UNSPECIFIED,
        specialities=model.specialities,
        context_tokens=model.context,
        training_use=_training(model.training_use),
        licence=model.entry.licence if model.entry else "",
        notes=[text for text in (model.strength, model.remark) if text],
        placement_ids=sorted(placement_ids),
    )
    for offer in model.offers:
        made.provider_models.add(provider=offer.provider, provider_model=offer.provider_id)
    for variant in model.variants:
        made.variants.add(
            quantization=variant.quantization,
            size_bytes=variant.size,
            memory_bytes=variant.vram_required,
            storage_tier=variant.storage_tier,
        )
    declared = next((one.tokens_per_s for one in model.variants if one.tokens_per_s is not None), None)
    if declared is not None:
        made.declared_tokens_per_second = declared
    verdict = next((offer.verdict for offer in model.offers if offer.verdict), None)
    if verdict is not None:
        made.verdict.kind = verdict
        made.verdict.rule = catalogue.verdict(verdict).rule
    return made


def _training(use: TrainingUse) -> model_pb2.TrainingUse:
    made = model_pb2.TrainingUse(kind=_TRAINING[use.verdict], source=use.source)
    if use.checked_on is not None:
        made.checked_on.CopyFrom(stamp(datetime.combine(use.checked_on, time(), UTC).timestamp()))
    return made


def to_phase(phase: PhasePlan) -> pb.Phase:
    return pb.Phase(
        name=phase.name,
        purpose=phase.purpose,
        always_loaded=phase.always,
        rotation_pool=phase.pool,
        evaluators=phase.evaluators,
        rotation_interval=span(phase.interval_s) if phase.interval_s is not None else None,
    )


def to_status(now: PhaseNow) -> pb.PhaseStatus:
    return pb.PhaseStatus(
        phase=to_phase(now.plan),
        wanted=now.wanted,
        unplaced=now.unplaced,
        rotation_position=now.position,
        next=now.next_models,
        next_at=stamp(now.next_at) if now.next_at is not None else None,
    )


def to_hold(hold: Hold) -> pb.Hold:
    return pb.Hold(
        node_id=hold.node_id,
        device_ids=hold.device_ids,
        kind=pb.HOLD_KIND_DRAIN if hold.drain else pb.HOLD_KIND_CORDON,
        reason=hold.reason,
        ends_at=stamp(hold.ends_at) if hold.ends_at is not None else None,
        since=stamp(hold.since),
    )


def to_plan(plan: Plan) -> pb.PlanPlacementResponse:
    """Unloads first, as they would be done."""
    made = pb.PlanPlacementResponse(
        impossible=[f"{model}: {why}" for model, why in sorted(plan.impossible.items())]
    )
    for node_id, model in plan.leaving:
        made.steps.add(action=pb.PLAN_ACTION_UNLOAD, model=model, node_id=node_id, reason="not in the plan")
    for one in plan.placed:
        made.steps.add(
            action=pb.PLAN_ACTION_KEEP if one.kept else pb.PLAN_ACTION_LOAD,
            model=one.model,
            node_id=one.node_id,
            device_ids=one.device_ids,
            reason=one.reason,
            memory_bytes=one.memory_bytes,
        )
    return made


def to_swap(progress: SwapProgress) -> pb.SwapModelsResponse:
    return pb.SwapModelsResponse(
        model=progress.model,
        stage=pb.SwapStage.Value(f"SWAP_STAGE_{progress.stage}"),
        progress=progress.progress,
        message=progress.message,
    )
