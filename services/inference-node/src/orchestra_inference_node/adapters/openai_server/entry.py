"""Servers that run already in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import FLAG, Choice, Number, Text

AUTO = "auto"
LLAMA_SERVER = "llama-server"
VLLM = "vllm"
TABBYAPI = "tabbyapi"

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.openai_server.opening:open_server",
    inspect="orchestra_inference_node.adapters.openai_server.opening:inspect",
    packages=("httpx",),
    formats=frozenset({ModelFormat.SERVER}),
    device_kinds=frozenset({"cpu", "cuda"}),
    options={
        "model": Text(),
        "server": Choice((AUTO, LLAMA_SERVER, VLLM, TABBYAPI)),
        "api_key_file": Text(),
        "beyond_this_host": FLAG,
        "silence_s": Number(1.0),
    },
)
