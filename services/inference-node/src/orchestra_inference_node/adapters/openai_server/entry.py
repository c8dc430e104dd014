"""openai-server in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.openai_server.engine:OpenaiServerEngine",
    packages=("httpx",),
    formats=frozenset({ModelFormat.SERVER}),
    device_kinds=frozenset({"cpu", "cuda"}),
    options={},
)
