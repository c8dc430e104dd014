"""exllamav2 in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.exllamav2.engine:Exllamav2Engine",
    packages=("exllamav2", "torch", "tokenizers", "jinja2"),
    formats=frozenset({ModelFormat.EXL2}),
    device_kinds=frozenset({"cuda"}),
    options={},
)
