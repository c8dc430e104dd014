"""A host with two cards that nobody has: placed, loaded, routed to and priced like any other."""

from __future__ import annotations

import asyncio
from importlib.resources import files

import pytest

from orchestra.generation.v1 import event_pb2, usage_pb2
from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra.router.v1 import router_service_pb2_grpc as router_grpc
from orchestra_rpc import call_stream, open_channel
from orchestra_testing import LocalMesh, generate_request
from orchestra_testing.nodes import client_of

NODES = """
nodes:
  - id: node-a
    address: ${ORCHESTRA_NODE_A_ADDR:-127.0.0.1:50060}
    worker_ports: ${ORCHESTRA_NODE_A_PORTS:-50100-50119}
    devices:
      - {id: P40_0, kind: simulated, model: tesla-p40, memory: 24GB, watts: 250}
      - {id: P40_1, kind: simulated, model: tesla-p40, memory: 24GB, watts: 250}
  - id: node-b
    address: ${ORCHESTRA_NODE_B_ADDR:-127.0.0.1:50061}
    worker_ports: ${ORCHESTRA_NODE_B_PORTS:-50120-50139}
    devices:
      - {id: cpu0, kind: cpu}
models:
  - {name: one, path: "simulated:one", parallel: 8, context: 4096, options: {memory: 20000000000}}
  - {name: two, path: "simulated:two", parallel: 8, context: 4096, options: {memory: 20000000000}}
placements:
  - {model: one, node: node-a, devices: [P40_0], pinned: true}
  - {model: two, node: node-a, devices: [P40_1], pinned: true}
"""


def template() -> str:
    """The local deployment with other nodes and models."""
    local = (files("orchestra_config") / "data/local.yaml").read_text()
    return local[: local.index("nodes:\n")] + NODES + local[local.index("cache:\n") :]


async def answers(router: str, model: str) -> list[event_pb2.GenerationEvent]:
    async with open_channel(router) as channel:
        await channel.channel_ready()
        stub = router_grpc.RouterServiceStub(channel)
        async with call_stream(stub.Generate(generate_request(model=model))) as events:
            return [one.event async for one in events]


async def node_of(address: str) -> node_pb2.Node:
    async with client_of(address, pb.ModelSpec()) as client:
        return await client.node()


@pytest.mark.long
def test_models_on_cards_that_nobody_has_are_placed_routed_to_and_priced() -> None:
    with LocalMesh(template=template()) as mesh:
        node = asyncio.run(node_of(mesh.address("node-a")))
        assert {worker.model: list(worker.device_ids) for worker in node.workers} == {
            "one": ["P40_0"],
            "two": ["P40_1"],
        }
        for model in ("one", "two"):
            finished = asyncio.run(answers(mesh.router, model))[-1].finished
            assert (finished.provenance.model, finished.provenance.engine) == (model, "simulated")
            assert finished.provenance.revision.startswith("simulated:")
            assert finished.cost.state == usage_pb2.COST_STATE_ESTIMATED
