"""CTranslate2 in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.ctranslate2.engine:Ctranslate2Engine",
    packages=("ctranslate2", "tokenizers"),
    formats=frozenset({ModelFormat.CTRANSLATE2}),
    device_kinds=frozenset({"cpu", "cuda"}),
    options={},
)
