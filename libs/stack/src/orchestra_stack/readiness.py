"""Waiting until a mesh answers: each service by its health, each model by its placement and the router."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from orchestra.inference.v1 import node_pb2
from orchestra.models.v1 import model_manager_service_pb2 as manager_pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as manager_grpc
from orchestra.models.v1 import model_pb2
from orchestra.router.v1 import router_service_pb2 as router_pb
from orchestra.router.v1 import router_service_pb2_grpc as router_grpc

from .deployment import Deployment, Instance
from .problem import StackError
from .progress import Progress

# a service that is about to listen is asked again at once, not after gRPC's second of back-off
CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)
_AGAIN_S = 0.05
_STAGES = {
    node_pb2.LOAD_STAGE_VERIFYING: "verifying",
    node_pb2.LOAD_STAGE_STARTING_WORKER: "starting a worker",
    node_pb2.LOAD_STAGE_LOADING_WEIGHTS: "loading",
    node_pb2.LOAD_STAGE_WARMING_UP: "warming up",
    node_pb2.LOAD_STAGE_READY: "ready",
}

ExitCode = Callable[[str], int | None]
"""The exit code of the process of an instance, None while it runs."""


async def is_serving(address: str, service: str, seconds: float = 2.0) -> bool:
    """Whether a service at an address says SERVING now."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=seconds
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def wait_for_services(
    instances: Iterable[Instance], exit_code: ExitCode, seconds: float, progress: Progress
) -> None:
    """Until every instance serves. Raises StackError that names the first that ended or was too slow."""
    until = time.monotonic() + seconds
    try:
        async with asyncio.TaskGroup() as group:
            for instance in instances:
                group.create_task(_wait_for(instance, exit_code, until, seconds, progress))
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


async def _wait_for(
    instance: Instance, exit_code: ExitCode, until: float, seconds: float, progress: Progress
) -> None:
    progress.service(instance.name, "starting")
    request = health_pb2.HealthCheckRequest(service=instance.service.health)
    async with grpc.aio.insecure_channel(instance.address, options=CHANNEL_OPTIONS) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            code = exit_code(instance.name)
            if code is not None:
                raise StackError(
                    f"{instance.name} ended with exit code {code} while it started: "
                    f"{last_words(instance.log)} (log: {instance.log})"
                )
            try:
                answer = await stub.Check(request, timeout=1.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    progress.service(instance.name, "ready")
                    return
                seen = "it answers NOT_SERVING"
            except grpc.aio.AioRpcError as error:
                seen = f"{error.code().name.lower()}, {error.details()}"
            if time.monotonic() > until:
                raise StackError(
                    f"{instance.name} did not serve at {instance.address} within {seconds:g} s ({seen}): "
                    f"see {instance.log}"
                )
            await asyncio.sleep(_AGAIN_S)


async def wait_for_models(
    deployment: Deployment,
    exit_code: ExitCode,
    seconds: float,
    progress: Progress,
    *,
    patient: bool = False,
) -> None:
    """Until every wanted placement serves and the router offers its model. Raises StackError.

    A load that fails ends the wait, since what is wrong with a file does not heal; `patient` waits for the
    next try.
    """
    if not deployment.wanted:
        return
    placements: dict[tuple[str, str], model_pb2.Placement] = {}
    try:
        async with asyncio.timeout(seconds):
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(_watch(deployment, placements, progress, patient))
                alive = group.create_task(_all_alive(deployment, exit_code))
                await watch
                await _router_offers(deployment)
                alive.cancel()
    except TimeoutError:
        missing = [
            f"{model} on {node} ({_where(placements.get((model, node)))})"
            for model, node in deployment.wanted
        ]
        raise StackError(f"not every model served within {seconds:g} s: {', '.join(missing)}") from None
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


async def _watch(
    deployment: Deployment,
    placements: dict[tuple[str, str], model_pb2.Placement],
    progress: Progress,
    patient: bool,
) -> None:
    address = deployment.address("model-manager")
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        stub = manager_grpc.ModelManagerServiceStub(channel)
        call = stub.WatchPlacements(manager_pb.WatchPlacementsRequest())
        try:
            async for seen in call:
                placements.update({(one.model, one.node_id): one for one in seen.placements})
                for key in deployment.wanted:
                    if key in placements:
                        _tell(placements[key], progress, patient)
                if all(_serves(placements.get(key)) for key in deployment.wanted):
                    return
        except grpc.aio.AioRpcError as error:
            raise StackError(f"model-manager stopped telling where models are: {error.details()}") from error
        finally:
            call.cancel()
    raise StackError("model-manager ended its list of placements before every model served")


def _serves(placement: model_pb2.Placement | None) -> bool:
    return placement is not None and placement.state == model_pb2.PLACEMENT_STATE_SERVING


def _where(placement: model_pb2.Placement | None) -> str:
    if placement is None:
        return "not placed"
    state = model_pb2.PlacementState.Name(placement.state).removeprefix("PLACEMENT_STATE_").lower()
    return f"{state}: {placement.state_reason}" if placement.state_reason else state


def _tell(placement: model_pb2.Placement, progress: Progress, patient: bool) -> None:
    if placement.state == model_pb2.PLACEMENT_STATE_FAILED and not patient:
        raise StackError(
            f"{placement.model} could not be loaded on {placement.node_id}: {placement.state_reason}"
        )
    now = placement.worker.progress
    known = placement.state == model_pb2.PLACEMENT_STATE_LOADING and now.stage in _STAGES
    progress.model(
        placement.model,
        placement.node_id,
        _STAGES[now.stage] if known else _where(placement),
        now.bytes_done if known and now.HasField("bytes_done") else None,
        now.bytes_total if known and now.HasField("bytes_total") else None,
    )


async def _router_offers(deployment: Deployment) -> None:
    wanted = {model for model, _ in deployment.wanted}
    async with grpc.aio.insecure_channel(deployment.router, options=CHANNEL_OPTIONS) as channel:
        stub = router_grpc.RouterServiceStub(channel)
        while True:
            try:
                answer = await stub.ListModels(router_pb.ListModelsRequest(serving_only=True), timeout=2.0)
                if wanted <= {model.name for model in answer.models}:
                    return
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    raise StackError(f"the router does not list models: {error.details()}") from error
            await asyncio.sleep(_AGAIN_S)


async def _all_alive(deployment: Deployment, exit_code: ExitCode) -> None:
    while True:
        for instance in deployment.instances:
            code = exit_code(instance.name)
            if code is not None:
                raise StackError(
                    f"{instance.name} ended with exit code {code} while models loaded: "
                    f"{last_words(instance.log)} (log: {instance.log})"
                )
        await asyncio.sleep(0.2)


def last_words(log: Path) -> str:
    """The last line of a log as a person would read it."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    if not lines:
        return "it said nothing"
    try:
        event = json.loads(lines[-1])
        words = [str(event[key]) for key in ("event", "error", "reason", "exception") if event.get(key)]
        return ": ".join(words)[-400:] or lines[-1][-400:]
    except (ValueError, TypeError, AttributeError):
        return lines[-1].strip()[-400:]


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a person should read: a StackError when there is one."""
    flat: list[BaseException] = []
    queue: list[BaseException] = [errors]
    while queue:
        one = queue.pop()
        if isinstance(one, BaseExceptionGroup):
            queue.extend(one.exceptions)
        else:
            flat.append(one)
    return next((one for one in flat if isinstance(one, StackError)), flat[0])
