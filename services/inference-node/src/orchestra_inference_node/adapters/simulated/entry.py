"""The simulated engine in the table of engines."""

from __future__ import annotations

from orchestra_inference_node.adapters.entry import EngineEntry
from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import Choice, Count, Number, Text

FAILURES = ("load", "memory", "dies", "stalls", "truncates", "errors")

ENTRY = EngineEntry(
    factory="orchestra_inference_node.adapters.simulated.engine:SimulatedEngine",
    inspect="orchestra_inference_node.adapters.simulated.declared:inspect",
    memory="orchestra_inference_node.adapters.simulated.declared:memory",
    packages=(),
    formats=frozenset({ModelFormat.NONE}),
    device_kinds=frozenset({"cpu", "cuda", "simulated"}),
    options={
        "tokens_per_second": Number(),
        "prefill_per_second": Number(),
        "first_token_s": Number(),
        "batch_gain": Number(),
        "load_s": Number(),
        "memory": Count(0),
        "answer_tokens": Count(),
        "answers": Count(),
        "skew": Number(),
        "family": Text(),
        "family_share": Number(),
        "embedding_size": Count(2, 4096),
        "fails": Choice(FAILURES),
        "fails_after": Count(),
        "fails_every": Count(),
        "failure": Text(),
    },
)
