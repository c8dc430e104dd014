"""Settings of the daemon: its own from the environment, the deployment's from orchestra.yaml. The only
reader of env."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestra_config import Node, load

DEFAULT_PORT = 50060


class Settings(BaseSettings):
    """What an operator sets for one process."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRA_", frozen=True, extra="ignore")

    node_id: str = Field(default="", description="which node of orchestra.yaml this is; empty: its only one")
    config: str = Field(default="", description="path of orchestra.yaml; empty: the defaults")
    listen: str = Field(default="", description="host:port; empty: the address of orchestra.yaml")
    metrics_port: int = Field(default=0, ge=0, le=65535)
    state_dir: Path = Path(".orchestra/state/inference-node")
    otlp_endpoint: str = ""
    log_format: Literal["json", "console"] = "json"
    log_level: str = "info"
    drain_s: float = Field(default=20.0, ge=0)
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


def deployed(settings: Settings) -> Deployed:
    """Raises ConfigError for a wrong file, WrongNode when the file does not say which node this is."""
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
    node = found[0] if found else _alone(settings)
    service = config.services.inference_node
    return Deployed(
        node=node,
        manager=settings.manager or config.addresses.model_manager,
        queue_limit=service.queue_limit,
        load_timeout_s=service.load_timeout_s,
        heartbeat_s=service.heartbeat_s,
    )


def _alone(settings: Settings) -> Node:
    """A node without a deployment: this host's CPU."""
    address = settings.listen or f"127.0.0.1:{DEFAULT_PORT}"
    return Node.model_validate(
        {"id": settings.node_id or "node", "address": address, "devices": ({"id": "cpu0", "kind": "cpu"},)}
    )
