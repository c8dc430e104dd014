"""A model that writes passes what the suite of every engine asks without a seed, which it refuses by name.

Left out beside that: what needs answers that last for seconds, which so small a model does not give, and
scores of parts, since a text that is read is no part of one that is written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing.engine_contract import (
    EmbedContract,
    EndContract,
    PromptContract,
    SoakContract,
)

# the tiny models lie beside the unit tests of the engine
sys.path.insert(0, str(Path(__file__).parents[2] / "unit/inference-node/ctranslate2"))

from tiny_models import write_codet5


class TestWriting(
    EndContract,
    PromptContract,
    SoakContract,
    EmbedContract,
):
    """CodeT5 in small."""

    long_answers = True
    shares_prompts = False
    soak_streams = 200

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> pb.ModelSpec:
        path = str(write_codet5(tmp_path_factory.mktemp("codet5"), endless=True))
        return pb.ModelSpec(model="codet5", path=path, slots=2, queue_limit=8, context_tokens=512)
