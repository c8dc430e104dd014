"""ModelManagerService: proto to flow to proto."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc

from orchestra.models.v1 import model_manager_service_pb2 as pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
from orchestra.models.v1 import model_pb2
from orchestra_errors import FailedPrecondition, NotYet, Violations
from orchestra_model_manager.flows.board import Board
from orchestra_model_manager.flows.demand import Demand
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.holding import Holding
from orchestra_model_manager.flows.phasing import Phasing
from orchestra_model_manager.flows.reconcile import Reconciler
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.flows.swap import Swapping
from orchestra_model_manager.rpc.convert import (
    TIERS,
    span,
    to_hold,
    to_model,
    to_phase,
    to_plan,
    to_status,
    to_swap,
)
from orchestra_rpc import page_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ModelManagerServicer(pb_grpc.ModelManagerServiceServicer):
    def __init__(
        self,
        fleet: Fleet,
        registry: Registry,
        board: Board,
        phasing: Phasing,
        holding: Holding,
        swapping: Swapping,
        reconciler: Reconciler,
        demand: Demand,
        instance_id: str,
    ) -> None:
        self._fleet = fleet
        self._registry = registry
        self._board = board
        self._phasing = phasing
        self._holding = holding
        self._swapping = swapping
        self._reconciler = reconciler
        self._demand = demand
        self._instance_id = instance_id

    # the catalogue

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        filtered = f"{request.tier}/{request.family}/{request.placed_only}"
        page = page_of(request.page_size, request.page_token, filter=filtered, default=100)
        tier = {value: key for key, value in TIERS.items()}.get(request.tier)
        found = [
            model
            for model in map(
                self._model, sorted(self._fleet.name(one.name) for one in self._fleet.catalogue.models)
            )
            if (tier is None or tier in self._fleet.catalogue.resolve(model.name).tiers)
            and (not request.family or model.family == request.family)
            and (not request.placed_only or model.placement_ids)
        ]
        rest = [model for model in found if model.name > page.cursor]
        more = len(rest) > page.size
        token = page.token(rest[page.size - 1].name) if more else ""
        return pb.ListModelsResponse(models=rest[: page.size], next_page_token=token)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        return pb.GetModelResponse(model=self._model(self._fleet.name(request.name)))

    def _model(self, name: str) -> model_pb2.Model:
        model = self._fleet.catalogue.resolve(name)
        placed_as = self._fleet.name(name)
        placed = [one.placement_id for one in self._board.now.placements if one.model == placed_as]
        return to_model(model, self._fleet.catalogue, placed_as, placed)

    # placement

    async def SwapModels(
        self, request: pb.SwapModelsRequest, context: Context
    ) -> AsyncIterator[pb.SwapModelsResponse]:
        drain = request.drain.ToMilliseconds() / 1000 if request.HasField("drain") else None
        async for progress in self._swapping.swap(request.unload, request.load, drain):
            yield to_swap(progress)

    async def PlanPlacement(
        self, request: pb.PlanPlacementRequest, context: Context
    ) -> pb.PlanPlacementResponse:
        models = tuple(self._fleet.name(name) for name in request.models) or None
        return to_plan(self._phasing.planned(models))

    async def ListPlacements(
        self, request: pb.ListPlacementsRequest, context: Context
    ) -> pb.ListPlacementsResponse:
        page = page_of(request.page_size, request.page_token, filter="", default=200)
        rest = [one for one in self._board.now.placements if one.placement_id > page.cursor]
        token = page.token(rest[page.size - 1].placement_id) if len(rest) > page.size else ""
        return pb.ListPlacementsResponse(placements=rest[: page.size], next_page_token=token)

    async def WatchPlacements(
        self, request: pb.WatchPlacementsRequest, context: Context
    ) -> AsyncIterator[pb.WatchPlacementsResponse]:
        async for posted in self._board.watch():
            yield pb.WatchPlacementsResponse(
                placements=posted.placements,
                version=posted.version,
                manager_instance_id=self._instance_id,
                phase=posted.phase,
            )

    async def ReportDemand(
        self, request: pb.ReportDemandRequest, context: Context
    ) -> pb.ReportDemandResponse:
        wrong = Violations()
        wrong.require(bool(request.router_instance_id), "router_instance_id", "must be set")
        wrong.raise_if_any()
        self._demand.report(request)
        return pb.ReportDemandResponse()

    async def RegisterNode(
        self, request_iterator: AsyncIterator[pb.RegisterNodeRequest], context: Context
    ) -> AsyncIterator[pb.RegisterNodeResponse]:
        async for request in request_iterator:
            wrong = Violations("node.")
            wrong.require(bool(request.node.node_id), "node_id", "must be set")
            wrong.require(bool(request.node.instance_id), "instance_id", "must be set")
            wrong.require(bool(request.node.address), "address", "must be set")
            wrong.raise_if_any()
            lease_id = self._registry.report(request.node)
            yield pb.RegisterNodeResponse(lease_id=lease_id, lease=span(self._registry.lease_s))

    # phases

    async def SetPhase(self, request: pb.SetPhaseRequest, context: Context) -> pb.SetPhaseResponse:
        wrong = Violations()
        wrong.require(bool(request.phase), "phase", "must be set")
        wrong.raise_if_any()
        now = await self._phasing.set(request.phase)
        self._reconciler.nudge()
        return pb.SetPhaseResponse(status=to_status(now))

    async def GetPhase(self, request: pb.GetPhaseRequest, context: Context) -> pb.GetPhaseResponse:
        now = self._phasing.now()
        phases = [to_phase(self._fleet.phase(name)) for name in self._fleet.catalogue.phase_names]
        return pb.GetPhaseResponse(status=to_status(now) if now else None, phases=phases)

    async def AdvanceRotation(
        self, request: pb.AdvanceRotationRequest, context: Context
    ) -> pb.AdvanceRotationResponse:
        now = await self._phasing.advance(request.request_id)
        self._reconciler.nudge()
        return pb.AdvanceRotationResponse(status=to_status(now))

    # holds

    async def CordonNode(self, request: pb.CordonNodeRequest, context: Context) -> pb.CordonNodeResponse:
        ends_at = request.ends_at.ToMilliseconds() / 1000 if request.HasField("ends_at") else None
        hold, _ = await self._holding.hold(
            request.node_id, tuple(request.device_ids), False, request.reason, ends_at
        )
        self._reconciler.nudge()
        return pb.CordonNodeResponse(hold=to_hold(hold))

    async def UncordonNode(
        self, request: pb.UncordonNodeRequest, context: Context
    ) -> pb.UncordonNodeResponse:
        ended = await self._holding.end(request.node_id, tuple(request.device_ids))
        if not ended:
            raise FailedPrecondition(request.node_id, "is not held there")
        self._reconciler.nudge()
        return pb.UncordonNodeResponse(ended=[to_hold(one) for one in ended])

    async def DrainNode(self, request: pb.DrainNodeRequest, context: Context) -> pb.DrainNodeResponse:
        ends_at = request.ends_at.ToMilliseconds() / 1000 if request.HasField("ends_at") else None
        hold, leaving = await self._holding.hold(
            request.node_id, tuple(request.device_ids), True, request.reason, ends_at
        )
        self._reconciler.nudge()
        return pb.DrainNodeResponse(hold=to_hold(hold), leaving=leaving)

    # not yet

    async def ImportModel(
        self, request: pb.ImportModelRequest, context: Context
    ) -> AsyncIterator[pb.ImportModelResponse]:
        raise NotYet("importing models into a storage tier")
        yield

    async def RemoveModel(self, request: pb.RemoveModelRequest, context: Context) -> pb.RemoveModelResponse:
        raise NotYet("removing imported models")

    async def GetScaling(self, request: pb.GetScalingRequest, context: Context) -> pb.GetScalingResponse:
        raise NotYet("scaling replicas by demand")

    async def PlanQuantization(
        self, request: pb.PlanQuantizationRequest, context: Context
    ) -> pb.PlanQuantizationResponse:
        raise NotYet("planning quantizations")
