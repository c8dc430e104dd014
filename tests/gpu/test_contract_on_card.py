"""The suite of every engine on real cards, with the models that `make test-gpu` was given; see `run.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_inference_node.adapters.nvml import Nvml
from orchestra_testing.engine_contract import EngineContract
from orchestra_testing.nodes import NodeProcess, start_node


class OnCards(EngineContract):
    """A daemon with every card of the host."""

    # whatever the model says, across runs of kernels that differ with the batch
    tolerance = 0.1
    canonical = False

    @pytest.fixture(scope="class")
    @classmethod
    def daemon(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
        cards = Nvml().cards().cards
        node = start_node(
            tmp_path_factory.mktemp("node"),
            devices=[f"{{id: gpu{card.index}, kind: cuda, index: {card.index}}}" for card in cards],
            reserved=[],
        )
        yield node
        assert node.stop() == 0, node.log.read_text()


def spec_of(engine: str, variable: str) -> pb.ModelSpec:
    """The model that the variable names, small enough for the suite."""
    return pb.ModelSpec(
        model="on-card",
        path=os.environ[variable],
        engine=engine,
        chat=True,
        context_tokens=512,
        slots=2,
        queue_limit=8,
        device_ids=["gpu0"],
    )


class TestExLlamaV2(OnCards):
    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> pb.ModelSpec:
        return spec_of("exllamav2", "EXL2_MODEL")


class TestLlamaCpp(OnCards):
    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> pb.ModelSpec:
        return spec_of("llamacpp", "GGUF_MODEL")
