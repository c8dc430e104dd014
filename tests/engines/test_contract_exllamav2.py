"""exllamav2 passes the suite of every engine: all is real but the scripted model, the card and its driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_exllamav2 import checkpoint

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_testing.engine_contract import EngineContract
from orchestra_testing.nodes import NodeProcess, client_of, start_node

HERE = Path(__file__).parent
CARD = "{id: gpu0, kind: cuda, memory: 8GiB, watts: 100}"
# a worker imports torch each time that it starts
pytestmark = pytest.mark.timeout(300)


def spec_of(folder: Path) -> pb.ModelSpec:
    """exllamav2 by name, as a deployment asks for it."""
    return pb.ModelSpec(
        model="scripted",
        path=str(checkpoint.write(folder)),
        engine="exllamav2",
        chat=True,
        context_tokens=512,
        slots=2,
        queue_limit=8,
    )


def start(folder: Path, *scripts: str, **settings: str) -> NodeProcess:
    """A daemon with one card. A step of its engine takes 10 ms, so that what runs is seen to run."""
    path = os.pathsep.join(str(HERE / one) for one in scripts)
    return start_node(
        folder, devices=[CARD], reserved=[], PYTHONPATH=path, SCRIPTED_FORWARD_S="0.01", **settings
    )


class TestExLlamaV2(EngineContract):
    wide_prompt = "<|say|>日本 🦊🛶 naïve<|done|>"

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> pb.ModelSpec:
        return spec_of(tmp_path_factory.mktemp("scripted"))

    @pytest.fixture(scope="class")
    @classmethod
    def daemon(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
        node = start(tmp_path_factory.mktemp("node"), "scripted", "scripted_driver")
        yield node
        assert node.stop() == 0, node.log.read_text()


@pytest.mark.parametrize(
    ("scripts", "capability", "reason"),
    [
        (("scripted",), "8.6", "the driver cannot be asked"),
        (("scripted", "scripted_driver"), "6.1", "no paged attention below compute capability 8.0"),
    ],
    ids=["no driver", "an old card"],
)
async def test_where_it_is_slow_or_nobody_knows_it_is_obeyed_and_said(
    tmp_path: Path, scripts: tuple[str, ...], capability: str, reason: str
) -> None:
    """An explicit exllamav2 is loaded, with one slot, DEGRADED, and answers."""
    node = start(tmp_path, *scripts, SCRIPTED_CAPABILITY=capability)
    try:
        async with client_of(node.address, spec_of(tmp_path / "model")) as client:
            await client.load()
            seen = await client.node()
            (worker,) = seen.workers
            assert worker.slots_total == 1
            assert worker.state == node_pb2.STATE_DEGRADED
            assert reason in seen.state_reason + worker.state_reason
            assert worker.engine == "exllamav2"
            assert await client.text(client.ask("<|say|>calm sea<|done|>", temperature=0)) == "calm sea"
    finally:
        assert node.stop() == 0, node.log.read_text()
