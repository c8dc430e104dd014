"""The ONNX encoder in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.encoder.folder import POOLINGS
from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import Choice, Count

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.encoder.engine:EncoderEngine",
    inspect="orchestra_inference_node.adapters.encoder.folder:inspect",
    packages=("onnxruntime", "tokenizers"),
    formats=frozenset({ModelFormat.ONNX}),
    device_kinds=frozenset({"cpu"}),
    options={"threads": Count(), "batch_tokens": Count(), "pooling": Choice(POOLINGS)},
    memory="orchestra_inference_node.adapters.encoder.folder:memory",
)
