"""Engines that only embed pass what the suite of every engine asks of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing import MINILM, model_file
from orchestra_testing.engine_contract import EmbedContract, ScoreContract

# the tiny models lie beside the unit tests of the engine
sys.path.insert(0, str(Path(__file__).parents[2] / "unit/inference-node/ctranslate2"))

from tiny_models import write_graphcodebert


class TestEncoder(EmbedContract, ScoreContract):
    """MiniLM by onnxruntime."""

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> pb.ModelSpec:
        path = str(model_file(MINILM))
        return pb.ModelSpec(model=MINILM, path=path, slots=2, queue_limit=8, context_tokens=256)


class TestReading(EmbedContract, ScoreContract):
    """GraphCodeBERT in small by CTranslate2."""

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> pb.ModelSpec:
        path = str(write_graphcodebert(tmp_path_factory.mktemp("graphcodebert")))
        return pb.ModelSpec(model="graphcodebert", path=path, slots=2, queue_limit=8)
