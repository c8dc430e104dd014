"""llama.cpp in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import FLAG, Choice, Count

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.llamacpp.engine:LlamaCppEngine",
    inspect="orchestra_inference_node.adapters.llamacpp.gguf:inspect",
    packages=("xllamacpp",),
    formats=frozenset({ModelFormat.GGUF}),
    device_kinds=frozenset({"cpu", "cuda"}),
    splits=True,
    options={
        "threads": Count(),
        "batch_tokens": Count(),
        "cache_type": Choice(("f16", "q8_0", "q4_0")),
        "flash_attention": Choice(("auto", "on", "off")),
        "deterministic": FLAG,
    },
    kinds="orchestra_inference_node.adapters.llamacpp.kinds",
    memory="orchestra_inference_node.adapters.llamacpp.sizing:memory_needed",
)
