"""The sampler in Python draws what exllamav2's own C++ drew, case by case, as `record_sampling.py` recorded
it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import exllamav2_ext
import numpy as np
import pytest
import torch

RECORDED = json.loads(Path(__file__).with_name("sampling_recorded.json").read_text())
VOCABULARY = RECORDED["vocabulary"]


def test_the_record_is_of_this_version() -> None:
    """A newer sampler must be recorded anew before the script may stand for it."""
    assert RECORDED["exllamav2"] == version("exllamav2")


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["name"])
def test_draws_what_the_original_drew(case: dict[str, Any]) -> None:
    """Token, its probability and the most likely tokens, ties and leftovers among them."""
    gives = case["gives"]
    found = drawn(exllamav2_ext, case)
    assert found["token"] == gives["token"]
    assert found["prob"] == pytest.approx(gives["prob"], rel=1e-4)
    assert found.get("top") == gives.get("top")
    assert found.get("top_probs") == pytest.approx(gives["top_probs"], rel=1e-4) if "top" in gives else True


@pytest.mark.parametrize("case", RECORDED["matches"], ids=lambda case: case["text"])
def test_strings_match_as_in_the_original(case: dict[str, Any]) -> None:
    """Whole, partly at the end, or not: what decides when text may be streamed."""
    assert matched(exllamav2_ext, case["text"], case["strings"]) == case["gives"]


@pytest.mark.parametrize("name", ["top_a", "tfs", "typical", "mirostat", "skew", "smoothing_factor"])
def test_what_an_adapter_must_leave_neutral_is_refused(name: str) -> None:
    """A setting that is on without anybody's wish fails here, and would pass unseen on a GPU."""
    from exllamav2.generator import ExLlamaV2Sampler

    settings = ExLlamaV2Sampler.Settings(**{name: 0.5})
    with pytest.raises(ValueError, match=f"not scripted: {name}"):
        ExLlamaV2Sampler.sample(torch.zeros(1, 1, 8), settings, torch.zeros(1, 1).long(), 0.5, _Tokenizer())


class _Tokenizer:
    def get_vocab_size(self) -> int:
        return 8


def drawn(ext: Any, case: dict[str, Any]) -> dict[str, Any]:
    """What `ext` draws, and the probabilities that it tells."""
    values = np.random.Generator(np.random.Philox(case["seed"])).standard_normal(VOCABULARY)
    logits = torch.from_numpy((3 * values).astype(np.float32)).view(1, 1, -1)
    if "penalties" in case:
        repetition, frequency, presence = case["penalties"]
        sequence = torch.tensor([[4, 9, 9, 9, 30, 61, 61, 95, 4, VOCABULARY + 5]])
        ext.apply_rep_penalty(sequence, repetition, -1, 0, frequency, presence, logits)
    none = torch.empty((1, 1), device="meta")
    top = case.get("top", 0)
    allowed = none
    if "allowed" in case:
        allowed = torch.zeros((1, VOCABULARY), dtype=torch.bool)
        allowed[0, case["allowed"]] = True
    token, prob = torch.empty((1, 1), dtype=torch.long), torch.empty((1, 1))
    kprobs = torch.empty((1, 1, top)) if top else none
    ktokens = torch.empty((1, 1, top), dtype=torch.long) if top else none
    ext.sample_basic(
        *(logits, case.get("temperature", 1.0), case.get("top_k", 0), case.get("top_p", 1.0), 0.0),
        *(case.get("min_p", 0.0), 0.0, 0.0, case["random"], token, prob, kprobs, ktokens, allowed),
        *(False, [], 1.5, 0.1, 1.0, none, 0.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0),
    )
    found: dict[str, Any] = {"token": token.item(), "prob": prob.item()}
    if top:
        found |= {"top": ktokens[0, 0].tolist(), "top_probs": kprobs[0, 0].tolist()}
    return found


def matched(ext: Any, text: str, strings: list[str]) -> int:
    """As the generator packs them."""
    from exllamav2.generator.dynamic import _strings_to_utf32

    packed, offsets = _strings_to_utf32(strings)
    return int(ext.partial_strings_match(np.frombuffer(text.encode("utf-32-le"), np.uint8), offsets, packed))
