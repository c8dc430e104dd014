"""The one table of services. The launcher, the tests and the container deployment are held to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

METRICS_PORT_OFFSET = 1000


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of process of the mesh.

    `needs` names the services that it calls or reports to: it starts and answers without them, but does not
    do its whole work. `health` is the name that it answers for in `grpc.health.v1.Health`.
    """

    name: str
    module: str
    port: int
    health: str
    needs: tuple[str, ...] = ()

    @property
    def metrics_port(self) -> int:
        return self.port + METRICS_PORT_OFFSET

    @property
    def image(self) -> str:
        return f"orchestra-{self.name}"

    @property
    def folder(self) -> str:
        """Of its package, from the repository's root."""
        return f"services/{self.name}"

    @property
    def address_variable(self) -> str:
        """The variable that moves it in the local deployment."""
        return f"ORCHESTRA_{self.name.upper().replace('-', '_')}_ADDR"


ROUTER = Service(
    "router",
    "orchestra_router",
    50050,
    "orchestra.router.v1.RouterService",
    needs=("model-manager", "cache", "cost-ledger", "cloud-proxy", "inference-node"),
)
MODEL_MANAGER = Service(
    "model-manager", "orchestra_model_manager", 50051, "orchestra.models.v1.ModelManagerService"
)
CACHE = Service("cache", "orchestra_cache", 50052, "orchestra.cache.v1.CacheService")
COST_LEDGER = Service("cost-ledger", "orchestra_cost_ledger", 50053, "orchestra.ledger.v1.CostLedgerService")
CLOUD_PROXY = Service(
    "cloud-proxy",
    "orchestra_cloud_proxy",
    50054,
    "orchestra.cloud.v1.CloudProxyService",
    needs=("cost-ledger",),
)
INFERENCE_NODE = Service(
    "inference-node",
    "orchestra_inference_node",
    50060,
    "orchestra.inference.v1.InferenceService",
    needs=("model-manager",),
)

SERVICES: tuple[Service, ...] = (ROUTER, MODEL_MANAGER, CACHE, COST_LEDGER, CLOUD_PROXY, INFERENCE_NODE)


def service(name: str) -> Service:
    """The row of that name; KeyError when there is none."""
    for row in SERVICES:
        if row.name == name:
            return row
    raise KeyError(name)


def stop_waves(names: Iterable[str]) -> list[list[str]]:
    """Groups of service names in the order in which to stop them: callers before those whom they call, so
    that what a caller has still to deliver finds its receiver."""
    left = set(names)
    waves: list[list[str]] = []
    while left:
        needed = {need for name in left for need in service(name).needs}
        wave = sorted(left - needed)
        waves.append(wave)
        left -= set(wave)
    return waves
