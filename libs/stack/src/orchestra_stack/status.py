"""How a started mesh is: processes, health, models, memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import grpc

from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_manager_service_pb2 as manager_pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as manager_grpc
from orchestra.models.v1 import model_pb2

from .readiness import CHANNEL_OPTIONS, is_serving
from .record import Record, Running
from .table import MODEL_MANAGER, service


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`state` is serving, not serving or gone; `memory_bytes` resident, children included, None when gone."""

    name: str
    address: str
    metrics_port: int
    state: str
    pid: int
    memory_bytes: int | None
    log: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A placement as model-manager tells it."""

    model: str
    node: str
    state: str
    reason: str
    address: str
    engine: str
    slots_total: int
    slots_free: int
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True)
class MeshStatus:
    """`problems` are sentences; empty means that all is well."""

    services: tuple[ServiceStatus, ...]
    models: tuple[ModelStatus, ...]
    problems: tuple[str, ...]

    @property
    def well(self) -> bool:
        return not self.problems


async def mesh_status(folder: Path) -> MeshStatus | None:
    """The mesh on record in a folder; None when there is none."""
    running = Record(folder).read()
    if not running:
        return None
    services = tuple(await asyncio.gather(*(_service(one) for one in running)))
    problems = [f"{one.name} is {one.state}: see {one.log}" for one in services if one.state != "serving"]
    manager = next((one for one in services if one.name == MODEL_MANAGER.name), None)
    models: tuple[ModelStatus, ...] = ()
    if manager is not None and manager.state == "serving":
        try:
            models = await _models(manager.address)
        except grpc.aio.AioRpcError as error:
            problems.append(f"model-manager does not tell where models are: {error.details()}")
    problems += [
        f"{one.model} on {one.node} is {one.state}{': ' + one.reason if one.reason else ''}"
        for one in models
        if one.state not in ("serving", "draining")
    ]
    return MeshStatus(services, models, tuple(problems))


async def _service(running: Running) -> ServiceStatus:
    memory = running.process.memory()
    if memory is None:
        state = "gone"
    elif await is_serving(running.address, service(running.service).health):
        state = "serving"
    else:
        state = "not serving"
    return ServiceStatus(
        running.name, running.address, running.metrics_port, state, running.process.pid, memory, running.log
    )


async def _models(manager: str) -> tuple[ModelStatus, ...]:
    async with grpc.aio.insecure_channel(manager, options=CHANNEL_OPTIONS) as channel:
        stub = manager_grpc.ModelManagerServiceStub(channel)
        answer = await stub.ListPlacements(manager_pb.ListPlacementsRequest(), timeout=3.0)
    return tuple(_model(placement) for placement in answer.placements)


def _model(placement: model_pb2.Placement) -> ModelStatus:
    worker: node_pb2.Worker = placement.worker
    return ModelStatus(
        model=placement.model,
        node=placement.node_id,
        state=model_pb2.PlacementState.Name(placement.state).removeprefix("PLACEMENT_STATE_").lower(),
        reason=placement.state_reason,
        address=worker.address,
        engine=f"{worker.engine} {worker.engine_build}".strip(),
        slots_total=worker.slots_total,
        slots_free=worker.slots_free,
        tokens_per_second=worker.tokens_per_second if worker.HasField("tokens_per_second") else None,
    )
