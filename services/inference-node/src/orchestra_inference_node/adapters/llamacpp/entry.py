"""llama.cpp in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.options import Count

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.llamacpp.engine:LlamaCppEngine",
    packages=("xllamacpp",),
    options={"threads": Count(), "batch_tokens": Count()},
)
