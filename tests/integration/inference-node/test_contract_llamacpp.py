"""llama.cpp passes the suite of every engine."""

from __future__ import annotations

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing import SMOL, model_file
from orchestra_testing.engine_contract import EngineContract


class TestChatModel(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> pb.ModelSpec:
        return pb.ModelSpec(
            model=SMOL,
            path=str(model_file(SMOL)),
            engine="llamacpp",
            chat=True,
            context_tokens=256,
            slots=2,
            queue_limit=8,
        )
