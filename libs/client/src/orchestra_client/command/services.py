"""Questions to services other than the router."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestra_errors import OrchestraError

from .addresses import HEALTH, PORTS, address_of

if TYPE_CHECKING:
    from orchestra.cache.v1.cache_service_pb2 import GetStatsResponse
    from orchestra.ledger.v1.entry_pb2 import CostBucket
    from orchestra.models.v1.model_manager_service_pb2 import GetPhaseResponse, SetPhaseResponse
    from orchestra.models.v1.model_pb2 import Placement
    from orchestra_rpc import MeshChannel

TIMEOUT_S = 10.0
UNKNOWN_HERE = "name not known here"


@asynccontextmanager
async def _channel(service: str, router: str | None) -> AsyncIterator[MeshChannel]:
    from orchestra_rpc import open_channel

    channel = open_channel(address_of(service, router))
    try:
        yield channel
    finally:
        await channel.close()


async def placements(router: str | None, timeout: float = TIMEOUT_S) -> list[Placement]:
    """All that model-manager tells."""
    from orchestra.models.v1 import model_manager_service_pb2 as pb
    from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
    from orchestra_rpc import call_unary

    found: list[Placement] = []
    token = ""
    async with _channel("model-manager", router) as channel:
        stub = pb_grpc.ModelManagerServiceStub(channel)
        while True:
            request = pb.ListPlacementsRequest(page_size=1000, page_token=token)
            answer = await call_unary(stub.ListPlacements(request, timeout=timeout))
            found.extend(answer.placements)
            token = answer.next_page_token
            if not token:
                return found


async def phase(router: str | None, change_to: str | None) -> GetPhaseResponse | SetPhaseResponse:
    """The phase now, and the others; after a change where that is asked for. Raises NotFound."""
    from orchestra.models.v1 import model_manager_service_pb2 as pb
    from orchestra.models.v1 import model_manager_service_pb2_grpc as pb_grpc
    from orchestra_rpc import call_unary

    async with _channel("model-manager", router) as channel:
        stub = pb_grpc.ModelManagerServiceStub(channel)
        if change_to is None:
            return await call_unary(stub.GetPhase(pb.GetPhaseRequest(), timeout=TIMEOUT_S))
        request = pb.SetPhaseRequest(request_id=uuid.uuid4().hex, phase=change_to)
        return await call_unary(stub.SetPhase(request, timeout=TIMEOUT_S))


async def costs(
    router: str | None, group_by: Sequence[str], *, run_id: str = "", model: str = ""
) -> list[CostBucket]:
    """Sums over all time."""
    from orchestra.ledger.v1 import cost_ledger_service_pb2 as pb
    from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as pb_grpc
    from orchestra_rpc import call_unary

    found: list[CostBucket] = []
    token = ""
    async with _channel("cost-ledger", router) as channel:
        stub = pb_grpc.CostLedgerServiceStub(channel)
        while True:
            request = pb.QueryCostsRequest(
                filter=pb.CostFilter(run_id=run_id, model=model),
                group_by=group_by,
                page_size=1000,
                page_token=token,
            )
            answer = await call_unary(stub.QueryCosts(request, timeout=TIMEOUT_S))
            found.extend(answer.buckets)
            token = answer.next_page_token
            if not token:
                return found


async def cache_stats(router: str | None) -> GetStatsResponse:
    """Since the cache started."""
    from orchestra.cache.v1 import cache_service_pb2 as pb
    from orchestra.cache.v1 import cache_service_pb2_grpc as pb_grpc
    from orchestra_rpc import call_unary

    async with _channel("cache", router) as channel:
        stub = pb_grpc.CacheServiceStub(channel)
        return await call_unary(stub.GetStats(pb.GetStatsRequest(), timeout=TIMEOUT_S))


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """`state` is serving, not serving or unreachable; `seconds` until it answered."""

    service: str
    address: str
    state: str
    seconds: float | None
    message: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MeshHealth:
    """Every service, every node that model-manager knows, every placement."""

    services: list[ServiceHealth]
    models: list[dict[str, str]]

    @property
    def well(self) -> bool:
        states = [one.state for one in self.services] + [one["state"] for one in self.models]
        return all(state == "serving" for state in states)


async def health(router: str | None, timeout: float = 3.0) -> MeshHealth:
    """Asks all at once; never raises for a service that does not answer."""
    from orchestra.models.v1 import model_pb2

    checks = [_check(service, HEALTH[service], address_of(service, router), timeout) for service in PORTS]
    asked = asyncio.gather(*checks)
    try:
        placed = await placements(router, timeout)
    except OrchestraError:
        # its own row says so
        placed = []
    services = await asked
    nodes = {one.node_id: one.node_address for one in placed if one.node_address}
    lost = {one.node_id for one in placed if one.state == model_pb2.PLACEMENT_STATE_LOST}
    asked_nodes = await asyncio.gather(
        *(_check(node, HEALTH["inference-node"], address, timeout) for node, address in sorted(nodes.items()))
    )
    services += [_as_the_manager_hears(one, one.service not in lost) for one in asked_nodes]
    models = [
        {
            "model": one.model,
            "state": model_pb2.PlacementState.Name(one.state).removeprefix("PLACEMENT_STATE_").lower(),
            "node": one.node_id,
            "why": one.state_reason,
        }
        for one in placed
    ]
    return MeshHealth(list(services), models)


def _as_the_manager_hears(node: ServiceHealth, reports: bool) -> ServiceHealth:
    """A node whose name means nothing here (it is known among containers, say) is judged by its reports."""
    if node.message != UNKNOWN_HERE or not reports:
        return node
    return replace(node, state="serving", message="reports to model-manager; its name is not known here")


async def _resolves(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port))
    except OSError:
        return False
    return True


async def _check(service: str, name: str, address: str, timeout: float) -> ServiceHealth:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

    began = time.monotonic()
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            why = error.code().name.lower() if await _resolves(address) else UNKNOWN_HERE
            return ServiceHealth(service, address, "unreachable", None, why)
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    seconds = time.monotonic() - began
    return ServiceHealth(service, address, "serving" if serving else "not serving", seconds, "")
