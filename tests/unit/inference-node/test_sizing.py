"""What a model takes in llama.cpp by its file's head: held to what the engine says of two real models."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.adapters.llamacpp.sizing import Sizing, cache_bytes, memory_needed
from orchestra_inference_node.ports import EngineDevice, LoadSettings
from orchestra_testing import model_file

MIB = 1024 * 1024
SMALL, WINDOWED = "smollm2-135m", "gemma3-270m"


def settings(model: str, context: int, slots: int, kind: str = "cpu", **options: str) -> LoadSettings:
    return LoadSettings(
        model=model,
        path=str(model_file(model)),
        context_tokens=context,
        slots=slots,
        chat=False,
        device_threads=None,
        options=options,
        scratch=Path("/"),
        devices=(EngineDevice("d", kind),),
    )


@pytest.mark.parametrize(
    ("how", "mib"),
    [
        # "KV buffer size" in the log of llama.cpp for the same load
        (settings(SMALL, 1024, 2), 45.0),
        (settings(SMALL, 2048, 4), 180.0),
        (settings(WINDOWED, 1024, 2), 6.0 + 22.5),
        (settings(WINDOWED, 2048, 4, batch_tokens="512"), 24.0 + 60.0),
        (settings(SMALL, 2048, 4, cache_type="q8_0"), 180.0 * 17 / 32),
    ],
)
def test_the_cache_is_as_large_as_the_engine_makes_it(how: LoadSettings, mib: float) -> None:
    file = GgufFacts.read(Path(how.path))
    assert cache_bytes(file, Sizing.of(how, file)) == mib * MIB


def test_weights_are_as_large_as_the_engine_says() -> None:
    # "model buffer size" in the log of llama.cpp
    assert GgufFacts.read(model_file(SMALL)).tensor_bytes / MIB == pytest.approx(92.10, abs=0.02)
    assert GgufFacts.read(model_file(WINDOWED)).tensor_bytes / MIB == pytest.approx(235.16, abs=0.02)


def test_a_card_gets_a_larger_batch_and_its_own_overhead() -> None:
    file = GgufFacts.read(model_file(SMALL))
    assert Sizing.of(settings(SMALL, 1024, 2), file).batch == 128
    assert Sizing.of(settings(SMALL, 1024, 2, "cuda"), file).batch == 512
    assert Sizing.of(settings(SMALL, 99_999_999, 2), file).context == 8192, "what it was trained for"
    on_card, on_cpu = (memory_needed(settings(SMALL, 1024, 2, kind)) for kind in ("cuda", "cpu"))
    assert on_card and on_cpu and on_card > on_cpu


def test_a_file_that_does_not_say_what_its_layers_are_is_not_guessed_at() -> None:
    file = GgufFacts("mystery", 2048, "F16", False, 100)
    assert cache_bytes(file, Sizing(1, 1024, 128, "f16", on_gpu=False)) is None


def test_layers_may_differ_in_their_heads() -> None:
    """An attention-free layer of a hybrid has no cache."""
    shape = {
        "block_count": 4,
        "embedding_length": 64,
        "attention.head_count": 4,
        "attention.head_count_kv": (0, 2, 0, 2),
    }
    file = GgufFacts("hybrid", 2048, "F16", False, 100, 0, shape)
    assert cache_bytes(file, Sizing(1, 1024, 128, "f16", on_gpu=False)) == 2 * 2 * 1024 * (16 + 16) * 2
