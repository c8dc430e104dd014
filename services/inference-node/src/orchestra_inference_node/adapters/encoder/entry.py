"""The encoder in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.encoder.engine:EncoderEngine",
    packages=("onnxruntime", "tokenizers"),
    formats=frozenset({ModelFormat.ONNX}),
    device_kinds=frozenset({"cpu"}),
    options={},
)
