"""Questions to the daemons of nodes: what is there, and what it does when somebody measures it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestra_errors import NotFound, OrchestraError

from . import services
from .addresses import address_of

if TYPE_CHECKING:
    from orchestra.inference.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub
    from orchestra.inference.v1.node_pb2 import MeasuredSpeed, Node, Worker
    from orchestra.models.v1.model_pb2 import Model

HINT = "try: "
"""How a note begins that says what to do next."""
Told = Callable[[str, int, int, str], None]
"""Model, steps done and in all, what runs now."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A file or folder on the node's host that is loaded to be measured, and unloaded afterwards."""

    model: str
    path: str


@dataclass(slots=True)
class Check:
    """A node, the workers that were measured, and what went wrong with others."""

    node: Node
    measured: list[tuple[Worker, MeasuredSpeed]] = field(default_factory=list)
    failed: list[tuple[str, OrchestraError]] = field(default_factory=list)


async def addresses(router: str | None, where: str) -> list[str]:
    """Of the node that is meant: a host:port itself, or a node's name; empty: every node that model-manager
    places models on. Raises NotFound with the known names."""
    if ":" in where:
        return [where]
    try:
        placed = await services.placements(router)
    except OrchestraError as error:
        error.add_note(f"{HINT}give the node's own address, for example 127.0.0.1:50060")
        raise
    known = {one.node_id: one.node_address for one in placed if one.node_address}
    if not where:
        return [known[name] for name in sorted(known)]
    if where not in known:
        raise NotFound("node", where, sorted(known))
    return [known[where]]


async def declared(router: str | None, model: str) -> Model | None:
    """The catalogue's entry; None when there is none, or nobody to ask."""
    from orchestra.models.v1 import model_manager_service_pb2 as pb
    from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
    from orchestra_rpc import call_unary, open_channel

    channel = open_channel(address_of("model-manager", router))
    try:
        stub = pb_grpc.ModelManagerServiceStub(channel)
        answer = await call_unary(stub.GetModel(pb.GetModelRequest(name=model), timeout=3.0))
    except OrchestraError:
        return None
    finally:
        await channel.close()
    return answer.model


async def check(
    address: str, models: tuple[str, ...], loading: Loading | None, settings: dict[str, int], told: Told
) -> Check:
    """Measures `models`, or all that are loaded, one after the other; `loading` alone where it is given.

    A model that cannot be measured does not keep the others from it. Raises what the node cannot be asked
    for.
    """
    async with _daemon(address) as stub:
        found = Check(await _node(stub))
        async with _loaded(stub, loading, told):
            names = (loading.model,) if loading else models or tuple(one.model for one in found.node.workers)
            for name in names:
                try:
                    speed = await _measure(stub, name, settings, told)
                except OrchestraError as error:
                    found.failed.append((name, error))
                    continue
                found.node = await _node(stub)
                worker = next(one for one in found.node.workers if one.model == name)
                found.measured.append((worker, speed))
        return found


@asynccontextmanager
async def _daemon(address: str) -> AsyncIterator[InferenceServiceAsyncStub]:
    from orchestra.inference.v1 import inference_service_pb2_grpc as pb_grpc
    from orchestra_rpc import open_channel

    channel = open_channel(address)
    try:
        yield pb_grpc.InferenceServiceStub(channel)
    except OrchestraError as error:
        if error.status_code == "UNAVAILABLE":
            error.add_note(f"{HINT}is the node up, and is {address} the address of its daemon?")
        raise
    finally:
        await channel.close()


async def _node(stub: InferenceServiceAsyncStub) -> Node:
    from orchestra.inference.v1 import inference_service_pb2 as pb
    from orchestra_rpc import call_unary

    answer = await call_unary(stub.GetNode(pb.GetNodeRequest(), timeout=services.TIMEOUT_S))
    return answer.node


@asynccontextmanager
async def _loaded(
    stub: InferenceServiceAsyncStub, loading: Loading | None, told: Told
) -> AsyncIterator[None]:
    """With the model there, and gone again afterwards, also when the measuring is interrupted."""
    if loading is None:
        yield
        return
    from orchestra.inference.v1 import inference_service_pb2 as pb
    from orchestra.inference.v1 import node_pb2
    from orchestra_rpc import call_stream, call_unary

    if any(one.model == loading.model for one in (await _node(stub)).workers):
        from orchestra_errors import AlreadyExists

        error = AlreadyExists("model", loading.model, "is loaded there already")
        error.add_note(f"{HINT}measure it as it is with --model {loading.model}, or load under another name")
        raise error
    spec = pb.ModelSpec(model=loading.model, path=loading.path)
    try:
        request = pb.LoadModelRequest(spec=spec, request_id=uuid.uuid4().hex)
        async with call_stream(stub.LoadModel(request)) as moves:
            async for move in moves:
                stage = node_pb2.LoadStage.Name(move.progress.stage).removeprefix("LOAD_STAGE_")
                told(loading.model, 0, 0, stage.lower().replace("_", " "))
        yield
    finally:
        with suppress(OrchestraError):
            await call_unary(stub.UnloadModel(pb.UnloadModelRequest(model=loading.model), timeout=60.0))


async def _measure(
    stub: InferenceServiceAsyncStub, model: str, settings: dict[str, int], told: Told
) -> MeasuredSpeed:
    from orchestra.inference.v1 import inference_service_pb2 as pb
    from orchestra_errors import DataLoss
    from orchestra_rpc import call_stream

    last: Any = None
    request = pb.MeasureModelRequest(model=model, request_id=uuid.uuid4().hex, **settings)
    async with call_stream(stub.MeasureModel(request)) as moves:
        async for last in moves:
            told(model, last.done, last.total, last.activity)
    if last is None or last.activity:
        raise DataLoss("measurement", "its stream ended before it was complete")
    speed: MeasuredSpeed = last.measured
    return speed
