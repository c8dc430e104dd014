"""The exllamav2 adapter held to the wheel that it is pinned to, by reading both: neither torch nor a GPU is
needed.

exllamav2's constructors swallow keywords that they do not know, and its results are dictionaries: a name
that moved would show as a changed answer, on a GPU host alone.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from exllamav2_sources import Wheel, adapter_modules
from exllamav2_uses import Uses

ROOT = Path(__file__).resolve().parents[3]
ADAPTER = ROOT / "services/inference-node/src/orchestra_inference_node/adapters/exllamav2"


@pytest.fixture(scope="module")
def wheel() -> Wheel:
    """As `make test` fetched it, by its hash."""
    (file,) = (ROOT / ".venv/engine-wheels").glob("exllamav2-*.whl")
    return Wheel(file)


def test_all_that_the_adapter_uses_is_in_the_wheel(wheel: Wheel) -> None:
    """Imports, every keyword, arguments by position, attributes, overridden methods, keys and values of
    results."""
    uses = Uses(adapter_modules(ADAPTER), wheel)
    assert list(uses.wrong()) == []
    # and it was looked at: a reader that finds nothing finds nothing wrong
    assert uses.seen >= {
        "import ExLlamaV2DynamicGenerator",
        "ExLlamaV2DynamicGenerator.__init__(max_chunk_size=)",
        "ExLlamaV2DynamicJob.__init__(return_top_tokens=)",
        "ExLlamaV2Cache_Q4.__init__(max_seq_len=)",
        "ExLlamaV2.load_autosplit(reserve_vram=)",
        "ExLlamaV2Config.max_seq_len",
        "result token_probs",
        "result eos_reason=max_new_tokens",
    }


def test_every_field_of_the_sampler_is_set(wheel: Wheel) -> None:
    """A field that a later version adds has a default of its own, which need not be neutral."""
    settings = wheel.signature("ExLlamaV2Sampler.Settings", "__init__")
    assert settings is not None
    uses = Uses(adapter_modules(ADAPTER), wheel)
    list(uses.wrong())
    assert {f"ExLlamaV2Sampler.Settings.__init__({name}=)" for name in settings.names} <= uses.seen


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("from exllamav2 import ExLlamaV2Cache_Q5", "exllamav2 has no ExLlamaV2Cache_Q5"),
        ("ExLlamaV2DynamicGenerator(model=m, cache=c, tokenizer=t, max_chunk=1)", "takes no max_chunk"),
        ("ExLlamaV2DynamicGenerator(model=m, cache=c)", "needs tokenizer"),
        ("ExLlamaV2DynamicJob(input_ids=i, max_new_tokens=1, **settings)", "cannot be read"),
        ("ExLlamaV2Sampler.Settings(temp=1)", "takes no temp"),
        ("model.load_autosplit(cache, reserve=1)", "takes no reserve"),
        ("job.cached", "ExLlamaV2DynamicJob has no cached"),
        ("config.max_context = 1", "ExLlamaV2Config has no max_context"),
        (
            "class Mine(ExLlamaV2DynamicJob):\n    def prefill(self):\n        pass",
            "prefill takes ['results']",
        ),
        ("said['tokens']", "no result has 'tokens'"),
        ("said['eos_reason'] == 'stop'", "eos_reason is never 'stop'"),
    ],
)
def test_what_is_not_there_is_found(wheel: Wheel, source: str, finding: str) -> None:
    """Each kind of use, wrong once."""
    imports = "from exllamav2.generator import *\n".replace(
        "*", "ExLlamaV2DynamicGenerator, ExLlamaV2DynamicJob, ExLlamaV2Sampler"
    )
    uses = Uses({"planted.py": ast.parse(imports + source)}, wheel)
    assert any(finding in one for one in uses.wrong()), list(uses.wrong())
