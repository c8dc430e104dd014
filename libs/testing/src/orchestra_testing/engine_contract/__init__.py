"""The suite that every engine of an inference node passes, over gRPC, against a real daemon.

    class TestLlamaCpp(EngineContract):
        @pytest.fixture(scope="class")
        @classmethod
        def spec(cls) -> pb.ModelSpec:
            return pb.ModelSpec(model="m", path=..., slots=2, queue_limit=8, context_tokens=1024)

What the model's Capabilities affirm is tried, and what they deny is asked for and must be refused by name; so
no test is skipped. See `Given` for what else a subclass may say.
"""

from .batches import BatchContract
from .ends import EndContract
from .given import Given
from .lives import LifeContract
from .prompts import PromptContract
from .sampling import SamplingContract
from .soaks import SoakContract
from .streams import StreamContract
from .texts import EmbedContract, ScoreContract
from .waiting import WaitingContract


class GenerationContract(
    StreamContract,
    EndContract,
    SamplingContract,
    PromptContract,
    BatchContract,
    WaitingContract,
    LifeContract,
    SoakContract,
):
    """What an engine that generates passes."""


class EngineContract(GenerationContract, ScoreContract, EmbedContract):
    """Everything. An engine that only embeds takes EmbedContract."""


__all__ = [
    "BatchContract",
    "EmbedContract",
    "EndContract",
    "EngineContract",
    "GenerationContract",
    "Given",
    "LifeContract",
    "PromptContract",
    "SamplingContract",
    "ScoreContract",
    "SoakContract",
    "StreamContract",
    "WaitingContract",
]
