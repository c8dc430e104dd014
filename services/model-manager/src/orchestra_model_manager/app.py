"""The composition root: constructs, wires, and says in which order all is closed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
from orchestra_config import Config, merged
from orchestra_model_manager.adapters.grpc_nodes import GrpcNodes
from orchestra_model_manager.adapters.state_file import StateFile
from orchestra_model_manager.config import Settings
from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.phases import RotationState
from orchestra_model_manager.flows.acting import Acting
from orchestra_model_manager.flows.board import Board
from orchestra_model_manager.flows.demand import Demand
from orchestra_model_manager.flows.fleet import Fleet
from orchestra_model_manager.flows.holding import Holding
from orchestra_model_manager.flows.keeping import Kept
from orchestra_model_manager.flows.phasing import Phasing
from orchestra_model_manager.flows.posting import Posting
from orchestra_model_manager.flows.reconcile import Reconciler
from orchestra_model_manager.flows.registry import Registry
from orchestra_model_manager.flows.swap import Swapping
from orchestra_model_manager.ports import State
from orchestra_model_manager.rpc.servicer import ModelManagerServicer
from orchestra_rpc import Background, Service, Shutdown, serve
from orchestra_telemetry import Telemetry

SERVICE = "orchestra.models.v1.ModelManagerService"
SEED = 0
"""Of the rotation's order; it is kept with the state, so another one takes effect with the next phase."""


async def run(settings: Settings, config: Config, on_bound: Callable[[str, int], None] | None = None) -> None:
    """Serve until told to stop. Raises PortInUse, MetricsPortInUse, DataLoss."""
    telemetry = Telemetry.start(
        "model-manager",
        otlp_endpoint=settings.otlp_endpoint,
        metrics_port=settings.metrics_port,
        metrics_host=settings.metrics_host,
    )
    manager = config.services.model_manager
    clock, wall = time.monotonic, time.time
    fleet = Fleet(config, merged(config))
    kept = Kept(StateFile(settings.state_dir))
    await kept.change(lambda state: _started(state, config, fleet, wall()))
    registry = Registry(manager.node_lease_s, clock)
    nodes = GrpcNodes(telemetry, config.services.inference_node.load_timeout_s)
    board = Board()
    background = Background()
    phasing = Phasing(fleet, kept, registry, clock, wall, SEED)
    acting = Acting(registry, nodes, board, manager.drain_s, clock)
    posting = Posting(fleet, registry, kept, phasing, acting.acts, board, wall)
    acting.publish = posting.publish
    reconciler = Reconciler(
        fleet, registry, kept, phasing, posting, acting, background, manager.reconcile_s, clock, wall
    )
    servicer = ModelManagerServicer(
        fleet=fleet,
        registry=registry,
        board=board,
        phasing=phasing,
        holding=Holding(fleet, registry, kept, wall),
        swapping=Swapping(fleet, registry, kept, posting, acting, background, clock, wall),
        reconciler=reconciler,
        demand=Demand(clock),
        instance_id=uuid.uuid4().hex,
    )
    background.spawn(reconciler.run(), name="reconciler")
    shutdown = Shutdown()
    shutdown.add("background", background.close)
    shutdown.add("nodes", nodes.close, after=["background"])
    shutdown.add("telemetry", telemetry.close, after=["nodes"])
    await serve(
        [Service(SERVICE, pb_grpc.add_ModelManagerServiceServicer_to_server, servicer)],
        settings=settings.rpc(),
        telemetry=telemetry,
        shutdown=shutdown,
        open_ended=[f"/{SERVICE}/WatchPlacements", f"/{SERVICE}/RegisterNode", f"/{SERVICE}/SwapModels"],
        on_bound=on_bound,
    )


def _started(state: State, config: Config, fleet: Fleet, now: float) -> State:
    """The first phase, and the holds of the deployment's file that are not there yet."""
    rotation = state.rotation
    if rotation is None and config.phases.start is not None:
        rotation = RotationState(fleet.phase(config.phases.start).name, 0, SEED, now)
    scheduled = tuple(
        Hold(
            node_id=node.id,
            device_ids=hold.devices,
            drain=True,
            reason=hold.reason,
            since=hold.start.timestamp() if hold.start else 0.0,
            ends_at=hold.end.timestamp() if hold.end else None,
        )
        for node in config.nodes
        for hold in node.holds
    )
    new = tuple(one for one in scheduled if one not in state.scheduled)
    return replace(state, rotation=rotation, holds=(*state.holds, *new), scheduled=scheduled)
