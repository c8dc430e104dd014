"""A measured model is chosen, and its time and power estimated, by what was measured."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestra.generation.v1 import routing_pb2
from orchestra.models.v1 import model_manager_service_pb2 as models_pb
from orchestra.models.v1 import model_manager_service_pb2_grpc as models_grpc
from orchestra.router.v1 import router_service_pb2 as pb
from orchestra.router.v1 import router_service_pb2_grpc as router_grpc
from orchestra_rpc import call_stream, call_unary, open_channel
from orchestra_testing import SMOL, LocalMesh

pytestmark = pytest.mark.timeout(300)
ORCHESTRA = Path(sys.executable).with_name("orchestra")


def check(mesh: LocalMesh) -> subprocess.CompletedProcess[str]:
    addresses = {
        "ORCHESTRA_ROUTER": mesh.address("router"),
        "ORCHESTRA_MODEL_MANAGER": mesh.address("model-manager"),
    }
    return subprocess.run(
        [ORCHESTRA, "node", "check", "node-a", "-m", SMOL, "--tokens", "8", "--rounds", "1", "--json"],
        env=os.environ | addresses,
        capture_output=True,
        text=True,
        check=False,
    )


async def heard(mesh: LocalMesh) -> None:
    """Until model-manager tells every router of the measurement."""
    async with open_channel(mesh.address("model-manager")) as channel:
        stub = models_grpc.ModelManagerServiceStub(channel)
        async with call_stream(stub.WatchPlacements(models_pb.WatchPlacementsRequest())) as boards:
            async for board in boards:
                if any(one.worker.HasField("measured") for one in board.placements):
                    return


async def explained(router: router_grpc.RouterServiceAsyncStub) -> pb.Candidate:
    request = pb.ExplainRouteRequest()
    request.generation.text = "def mean(numbers):"
    request.generation.routing.objective = routing_pb2.OBJECTIVE_SPEED
    request.generation.sampling.max_tokens = 20
    answer = await call_unary(router.ExplainRoute(request))
    return next(one for one in answer.candidates if one.model == SMOL and one.eligible)


async def test_the_router_uses_what_node_check_found(
    mesh: LocalMesh, router: router_grpc.RouterServiceAsyncStub
) -> None:
    done = await asyncio.to_thread(check, mesh)
    assert done.returncode == 0, done.stderr
    (node,) = json.loads(done.stdout)
    (model,) = node["models"]
    assert model["declared"]["watts"] > 0 and model["measured"]["at"][0]["parallel"] == 1
    await heard(mesh)
    candidate = await explained(router)
    while "measured at 1" not in candidate.score_source:
        # the router hears it a moment after us
        candidate = await explained(router)
    assert candidate.score > 0
    assert candidate.estimated_latency.ToTimedelta().total_seconds() > 0
    assert candidate.estimated_cost_nanos > 0
