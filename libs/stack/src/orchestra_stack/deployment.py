"""A deployment on this machine: which process listens where, and the `orchestra.yaml` that all read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from orchestra_config import Config, ConfigError, load

from . import table
from .home import MODELS_VARIABLE
from .ports import HOST, FreePorts
from .problem import StackError
from .table import INFERENCE_NODE, SERVICES, Service

NODES = ("node-a", "node-b")
_WORKERS_PER_NODE = 8
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Instance:
    """One process to run. `metrics_port` 0 means none."""

    name: str
    service: Service
    address: str
    metrics_port: int
    folder: Path
    variables: Mapping[str, str]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def log(self) -> Path:
        return self.folder / "log" / f"{self.name}.log"

    @property
    def state(self) -> Path:
        return self.folder / "state" / self.name


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that is started together, under `folder`."""

    name: str
    folder: Path
    config_file: Path
    config: Config
    instances: tuple[Instance, ...]

    @property
    def router(self) -> str:
        return self.address(table.ROUTER.name)

    def address(self, name: str) -> str:
        """Of an instance by its name; KeyError when there is none."""
        for instance in self.instances:
            if instance.name == name:
                return instance.address
        raise KeyError(name)

    @property
    def wanted(self) -> tuple[tuple[str, str], ...]:
        """(model, node) pairs that the placements ask for."""
        return tuple((placement.model, placement.node) for placement in self.config.placements)

    @property
    def generating(self) -> tuple[str, ...]:
        """The wanted models that are not declared for something else alone."""
        able = {entry.name: set(entry.capabilities) for entry in self.config.models}
        return tuple(
            model for model, _ in self.wanted if not able[model] or able[model] & {"chat", "completion"}
        )


@dataclass(frozen=True, slots=True)
class PortPlan:
    """A port for each service and node, and the first worker port of each node."""

    services: Mapping[str, int]
    workers: Mapping[str, int]
    metrics: bool

    @classmethod
    def fixed(cls, nodes: tuple[str, ...] = NODES) -> PortPlan:
        """The ports of the table: callers know them."""
        services = {row.name: row.port for row in SERVICES if row is not INFERENCE_NODE}
        services |= {node: INFERENCE_NODE.port + at for at, node in enumerate(nodes)}
        return cls(services, {node: 50100 + 20 * at for at, node in enumerate(nodes)}, metrics=True)

    @classmethod
    def free(cls, nodes: tuple[str, ...] = NODES) -> PortPlan:
        """Ports that nobody listens on, for a mesh beside others. No metrics ports."""
        ports = FreePorts()
        services = {row.name: ports.one() for row in SERVICES if row is not INFERENCE_NODE}
        services |= {node: ports.one() for node in nodes}
        return cls(services, {node: ports.block(_WORKERS_PER_NODE) for node in nodes}, metrics=False)


def local_template() -> str:
    """The local deployment that orchestra-config ships, with its variables."""
    return (files("orchestra_config") / "data" / "local.yaml").read_text(encoding="utf-8")


def write_local(
    name: str,
    folder: Path,
    models: Path,
    plan: PortPlan,
    *,
    with_models: bool = True,
    template: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Deployment:
    """Write `folder/orchestra.yaml` from a template with every variable filled in, and check it.

    `with_models` false drops the placements: services alone. `variables` goes into every process's
    environment. Raises StackError.
    """
    values = {MODELS_VARIABLE: str(models)}
    for row in SERVICES:
        if row is not INFERENCE_NODE:
            values[row.address_variable] = f"{HOST}:{plan.services[row.name]}"
    for node, first in plan.workers.items():
        stem = f"ORCHESTRA_{node.upper().replace('-', '_')}"
        values[f"{stem}_ADDR"] = f"{HOST}:{plan.services[node]}"
        values[f"{stem}_PORTS"] = f"{first}-{first + _WORKERS_PER_NODE - 1}"
    text = _fill(template if template is not None else local_template(), values)
    text = _share_cores(text, len(plan.workers))
    if not with_models:
        text = _without(text, "placements")
    config_file = folder / "orchestra.yaml"
    config_file.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(text, encoding="utf-8")
    try:
        config = load(config_file)
    except ConfigError as error:
        raise StackError(str(error)) from error
    instances = tuple(_instances(folder, config_file, config, plan, dict(variables or {})))
    return Deployment(name, folder, config_file, config, instances)


def _instances(
    folder: Path, config_file: Path, config: Config, plan: PortPlan, variables: dict[str, str]
) -> list[Instance]:
    shared = {
        "ORCHESTRA_CONFIG": str(config_file),
        "ORCHESTRA_LOG_FORMAT": "json",
        # here the engines compute on the cores that the cache answers from: its usual 20 ms would be missed
        "ORCHESTRA_CACHE_BUDGET_S": "0.2",
    } | variables
    made = []
    for row in SERVICES:
        names = [node.id for node in config.nodes] if row is INFERENCE_NODE else [row.name]
        for name in names:
            port = plan.services[name]
            metrics = port + table.METRICS_PORT_OFFSET if plan.metrics else 0
            own = {
                "ORCHESTRA_LISTEN": f"{HOST}:{port}",
                "ORCHESTRA_METRICS_PORT": str(metrics),
                "ORCHESTRA_STATE_DIR": str(folder / "state" / name),
            }
            if row is INFERENCE_NODE:
                own["ORCHESTRA_NODE_ID"] = name
            made.append(Instance(name, row, f"{HOST}:{port}", metrics, folder, shared | own))
    return made


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(
        lambda found: values.get(found[1], found[2] if found[2] is not None else found[0]), text
    )


def _share_cores(text: str, nodes: int) -> str:
    """Give each CPU device that names no threads its share of this machine's cores.

    Two engines that each compute with every core wait for each other at each step: six times slower.
    """
    threads = max(1, usable_cores() // max(1, nodes))
    return re.sub(r"(\{[^{}]*kind: cpu\b)(?![^{}]*threads:)", rf"\1, threads: {threads}", text)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _without(text: str, section: str) -> str:
    """Drop one top-level section of a YAML text."""
    return re.sub(rf"^{section}:.*?(?=^\S|\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
