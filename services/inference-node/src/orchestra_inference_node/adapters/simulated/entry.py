"""The simulated engine in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.simulated.engine:SimulatedEngine",
    packages=(),
    formats=frozenset({ModelFormat.NONE}),
    device_kinds=frozenset({"cpu", "cuda", "simulated"}),
    options={},
)
