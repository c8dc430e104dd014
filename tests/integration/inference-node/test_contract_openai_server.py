"""A real llama-server behind the openai-server engine passes the suite of every engine.

What the engine does of its own is in test_openai_server.py, which every run has.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_testing import SMOL, LlamaServerProcess, model_file
from orchestra_testing.engine_contract import EngineContract


@pytest.mark.long
class TestLlamaServer(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> Iterator[pb.ModelSpec]:
        # slots for the models that a test loads besides: all of them are this server
        server = LlamaServerProcess(model_file(SMOL), slots=4).start()
        yield pb.ModelSpec(
            model=SMOL,
            path=server.url,
            engine="openai-server",
            chat=True,
            context_tokens=256,
            slots=2,
            queue_limit=8,
        )
        server.kill()
