"""The simulated engine passes the suite of every engine."""

from __future__ import annotations

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing.engine_contract import EngineContract


class TestSimulated(EngineContract):
    long_answers = True

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> pb.ModelSpec:
        spec = pb.ModelSpec(
            model="declared",
            path="simulated:contract",
            engine="simulated",
            chat=True,
            context_tokens=256,
            slots=2,
            queue_limit=8,
        )
        spec.engine_options.update(
            {
                "tokens_per_second": "200",
                "prefill_per_second": "2000",
                "first_token_s": "0.005",
                "load_s": "0.5",
                "answer_tokens": "100000",
            }
        )
        return spec
