"""CTranslate2 in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import Choice, Count

COMPUTE_TYPES = ("default", "auto", "int8", "int8_float32", "int16", "float32")

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.ctranslate2.opening:open_model",
    inspect="orchestra_inference_node.adapters.ctranslate2.folder:inspect",
    packages=("ctranslate2", "tokenizers"),
    formats=frozenset({ModelFormat.CTRANSLATE2}),
    device_kinds=frozenset({"cpu"}),
    options={
        "threads": Count(),
        "batch_tokens": Count(),
        "compute_type": Choice(COMPUTE_TYPES),
        "pooling": Choice(("mean", "cls", "last")),
    },
    memory="orchestra_inference_node.adapters.ctranslate2.folder:memory",
)
