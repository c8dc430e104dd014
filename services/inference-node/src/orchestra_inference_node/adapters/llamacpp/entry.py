"""llama.cpp in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import Count

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.llamacpp.engine:LlamaCppEngine",
    inspect="orchestra_inference_node.adapters.llamacpp.gguf:inspect",
    packages=("xllamacpp",),
    formats=frozenset({ModelFormat.GGUF}),
    device_kinds=frozenset({"cpu", "cuda"}),
    splits=True,
    options={"threads": Count(), "batch_tokens": Count()},
)
