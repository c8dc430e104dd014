"""Where the services other than the router are, for the verbs that look at them."""

from __future__ import annotations

import os

from ..settings import DEFAULT_ROUTER

PORTS = {
    "router": 50050,
    "model-manager": 50051,
    "cache": 50052,
    "cost-ledger": 50053,
    "cloud-proxy": 50054,
}
HEALTH = {
    "router": "orchestra.router.v1.RouterService",
    "model-manager": "orchestra.models.v1.ModelManagerService",
    "cache": "orchestra.cache.v1.CacheService",
    "cost-ledger": "orchestra.ledger.v1.CostLedgerService",
    "cloud-proxy": "orchestra.cloud.v1.CloudProxyService",
    "inference-node": "orchestra.inference.v1.InferenceService",
}


def variable(service: str) -> str:
    """The environment's word on a service: ORCHESTRA_MODEL_MANAGER."""
    return f"ORCHESTRA_{service.upper().replace('-', '_')}"


def address_of(service: str, router: str | None = None) -> str:
    """host:port: as the environment says, else the service's own port on the router's host."""
    router = router or os.environ.get(variable("router")) or DEFAULT_ROUTER
    if service == "router":
        return router
    host = router.rpartition(":")[0] or "127.0.0.1"
    return os.environ.get(variable(service)) or f"{host}:{PORTS[service]}"
