"""A model file is understood, or refused with a reason; it is never guessed at."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestra_errors import DataLoss
from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def small_file() -> bytes:
    pairs = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.context_length") + struct.pack("<II", 4, 2048),
        text("general.file_type") + struct.pack("<II", 4, 15),
        text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
        text("tokenizer.ggml.scores") + struct.pack("<IIQff", 9, 6, 2, 0.0, 1.0),
        text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{{ x }}"),
    ]
    tensors = text("t") + struct.pack("<IQIQ", 1, 64, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensors
    return head + bytes(-len(head) % 32) + bytes(64 * 4)


def read(data: bytes, folder: Path) -> GgufFacts:
    path = folder / "m.gguf"
    path.write_bytes(data)
    return GgufFacts.read(path)


def test_the_head_says_what_the_model_is(tmp_path: Path) -> None:
    assert read(small_file(), tmp_path) == GgufFacts(
        "llama", 2048, "Q4_K_M", True, 2, 256, {"context_length": 2048}
    )


@pytest.mark.parametrize("cut", [1, 100, 255])
def test_a_file_shorter_than_its_tensors_is_refused(cut: int, tmp_path: Path) -> None:
    with pytest.raises(DataLoss, match="shorter"):
        read(small_file()[:-cut], tmp_path)


@pytest.mark.parametrize("data", [b"", b"GGU", b"GGML" + bytes(100), b"GGUF", b"<html>"])
def test_what_is_no_gguf_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataLoss):
        read(data, tmp_path)


DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=DAMAGE)
def test_damage_is_refused_or_read_but_never_a_crash(damage: list[tuple[int, bytes]], tmp_path: Path) -> None:
    data = bytearray(small_file())
    for at, new in damage:
        data[at : at + len(new)] = new
    try:
        read(bytes(data), tmp_path)
    except DataLoss:
        return
