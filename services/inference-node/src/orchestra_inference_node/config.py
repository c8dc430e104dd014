"""Settings of the daemon: its own from the environment, the deployment's from orchestra.yaml. The only
reader of env."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from orchestra_config import Node, UnknownName, catalogue, load
from orchestra_inference_node.domain.inventory import Cards, Declared, undeclared
from orchestra_rpc import Port, ServiceSettings

DEFAULT_PORT = 50060


class Settings(ServiceSettings):
    """What an operator sets for one process; `listen` empty: the node's address in orchestra.yaml."""

    listen: str = ""
    metrics_port: Port = 51060
    state_dir: Path = Path(".orchestra/inference-node")
    node_id: str = Field(default="", description="which node of orchestra.yaml this is; empty: its only one")
    prefetch_mb_s: float = Field(
        default=200.0, ge=0, description="bound on copying to the fast tier, in MB/s; 0: none"
    )
    config: str = Field(default="", description="path of orchestra.yaml; empty: the defaults")
    manager: str = Field(default="", description="host:port of model-manager; empty: orchestra.yaml's")


class WrongNode(Exception):
    """The text names what to set."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The parts of the deployment that concern this node."""

    node: Node
    manager: str
    queue_limit: int
    load_timeout_s: float
    heartbeat_s: float


def deployed(settings: Settings, cards: Callable[[], Cards] = Cards) -> Deployed:
    """`cards` asks the driver, for a host that no file describes; it may block.

    Raises ConfigError for a wrong file, WrongNode when the file does not say which node this is.
    """
    config = load(settings.config or None)
    if settings.node_id:
        found = [node for node in config.nodes if node.id == settings.node_id]
    else:
        found = list(config.nodes) if len(config.nodes) == 1 else []
    if config.nodes and not found:
        known = ", ".join(node.id for node in config.nodes)
        raise WrongNode(
            f"ORCHESTRA_NODE_ID is {settings.node_id or 'not set'!r}; the deployment's nodes are {known}"
        )
    node = found[0] if found else _alone(settings, cards())
    service = config.services.inference_node
    return Deployed(
        node=node,
        manager=settings.manager or config.addresses.model_manager,
        queue_limit=service.queue_limit,
        load_timeout_s=service.load_timeout_s,
        heartbeat_s=service.heartbeat_s,
    )


def declared_devices(node: Node) -> list[Declared]:
    """The devices of a node, with what the catalogue knows of their cards where no driver can be asked."""
    return [
        Declared(
            device.id,
            device.kind,
            device.model,
            device.index,
            device.memory,
            device.watts,
            _known_capability(device.model),
            device.id in node.reserved,
        )
        for device in node.devices
    ]


def _known_capability(model: str) -> tuple[int, int] | None:
    if not model:
        return None
    try:
        shown = catalogue().card(model).compute_capability
    except UnknownName:
        return None
    major, _, minor = shown.partition(".")
    return (int(major), int(minor)) if minor else None


def _alone(settings: Settings, cards: Cards) -> Node:
    """A node without a deployment: this host's cards, and its CPU."""
    address = settings.listen or f"127.0.0.1:{DEFAULT_PORT}"
    if address.endswith(":0"):
        raise WrongNode("ORCHESTRA_LISTEN: a node alone needs a port, since callers are told this address")
    found = [{"id": one.device_id, "kind": one.kind, "index": one.index} for one in undeclared(cards)]
    return Node.model_validate(
        {
            "id": settings.node_id or "node",
            "address": address,
            "devices": (*found, {"id": "cpu0", "kind": "cpu"}),
        }
    )
