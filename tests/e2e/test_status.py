"""`orchestra status` tells how each part is, by its exit code too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestra_testing import GEMMA, MINILM, SMOL, LocalMesh

pytestmark = pytest.mark.timeout(180)
ORCHESTRA = Path(sys.executable).with_name("orchestra")


def status(mesh: LocalMesh, **moved: str) -> tuple[int, Any]:
    names = {
        "ORCHESTRA_ROUTER": "router",
        "ORCHESTRA_MODEL_MANAGER": "model-manager",
        "ORCHESTRA_CACHE": "cache",
        "ORCHESTRA_COST_LEDGER": "cost-ledger",
        "ORCHESTRA_CLOUD_PROXY": "cloud-proxy",
    }
    addresses = {variable: mesh.address(name) for variable, name in names.items()} | moved
    done = subprocess.run(
        [ORCHESTRA, "status", "--json"],
        env=os.environ | addresses,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_a_mesh_that_is_well(mesh: LocalMesh) -> None:
    code, found = status(mesh)
    assert code == 0
    assert {one["service"]: one["state"] for one in found["services"]} == dict.fromkeys(
        ["router", "model-manager", "cache", "cost-ledger", "cloud-proxy", "node-a", "node-b"], "serving"
    )
    states = {one["model"]: one["state"] for one in found["models"]}
    assert states == {SMOL: "serving", GEMMA: "serving", MINILM: "serving"}


def test_a_service_that_does_not_answer_is_named(mesh: LocalMesh) -> None:
    code, found = status(mesh, ORCHESTRA_CACHE="127.0.0.1:9")
    assert code == 1
    assert [one["service"] for one in found["services"] if one["state"] != "serving"] == ["cache"]
