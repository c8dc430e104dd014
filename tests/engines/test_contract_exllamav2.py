"""exllamav2 passes the suite of every engine: all is real but the scripted model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_exllamav2 import checkpoint

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing.engine_contract import EngineContract
from orchestra_testing.nodes import NodeProcess, start_node

SCRIPTED = Path(__file__).parent / "scripted"


# a worker imports torch each time that it starts
@pytest.mark.timeout(300)
class TestExLlamaV2(EngineContract):
    wide_prompt = "<|say|>日本 🦊🛶 naïve<|done|>"

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> pb.ModelSpec:
        return pb.ModelSpec(
            model="scripted",
            path=str(checkpoint.write(tmp_path_factory.mktemp("scripted"))),
            engine="exllamav2",
            chat=True,
            context_tokens=512,
            slots=2,
            queue_limit=8,
        )

    @pytest.fixture(scope="class")
    @classmethod
    def daemon(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
        """A card is declared that no driver shows; the scripted engine sees one. A step takes 10 ms."""
        node = start_node(
            tmp_path_factory.mktemp("node"),
            devices=["{id: gpu0, kind: cuda, index: 0, memory: 8GiB, watts: 100}"],
            reserved=[],
            PYTHONPATH=str(SCRIPTED),
            SCRIPTED_FORWARD_S="0.01",
        )
        yield node
        assert node.stop() == 0, node.log.read_text()
