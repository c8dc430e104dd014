"""exllamav2 in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import FLAG, Choice, Count, Number, Numbers, Text

CACHES = ("FP16", "Q8", "Q6", "Q4")
PAGE = 256
"""Tokens of one page of the cache: what the engine shares, and counts its pool in."""

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.exllamav2.opening:open_model",
    inspect="orchestra_inference_node.adapters.exllamav2.folder:inspect",
    memory="orchestra_inference_node.adapters.exllamav2.memory:needed",
    packages=("exllamav2", "torch", "tokenizers", "jinja2"),
    formats=frozenset({ModelFormat.EXL2}),
    device_kinds=frozenset({"cuda"}),
    splits=True,
    options={
        "cache": Choice(CACHES),
        "cache_tokens": Count(PAGE, step=PAGE),
        "max_chunk_size": Count(PAGE, step=PAGE),
        "paged": Choice(("auto", "true", "false")),
        "flash_attention": FLAG,
        "gpu_split": Numbers(),
        "reserve_gb": Number(),
        "draft_model": Text(),
        "draft_tokens": Count(1, 7),
        "draft_cache": Choice(CACHES),
    },
)
