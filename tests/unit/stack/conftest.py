from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestra_config import Config
from orchestra_stack import Deployment, Instance, service
from orchestra_stack.ports import HOST, FreePorts

TOYS = Path(__file__).parent


@pytest.fixture
def toys(tmp_path: Path) -> Callable[..., Deployment]:
    """Deployments of toy processes: `toys(cache="", router="sick")` maps services to their faults."""

    def make(**faults: str) -> Deployment:
        ports = FreePorts()
        instances = []
        for name, fault in faults.items():
            row = dataclasses.replace(service(name.replace("_", "-")), module="toy_service")
            port = ports.one()
            variables = {
                "PYTHONPATH": str(TOYS),
                "ORCHESTRA_LISTEN": f"{HOST}:{port}",
                "TOY_HEALTH": row.health,
                "TOY_FAULT": fault,
            }
            instances.append(Instance(row.name, row, f"{HOST}:{port}", 0, tmp_path, variables))
        return Deployment("toys", tmp_path, tmp_path / "orchestra.yaml", Config(), tuple(instances))

    return make
