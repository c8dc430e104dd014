"""The paper's configuration blocks, cut as printed, load unchanged and say what the catalogue says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestra_config import ConfigError, PaperBlocks, catalogue, read_paper_blocks

Block = Callable[[str], str]
PAPER = catalogue()


def test_the_deployment_block(block: Block) -> None:
    placements = read_paper_blocks(block("deployment.yaml")).placements
    served = [one for one in placements if not one.reserves]
    assert [tuple(one) for one in served] and [one.model for one in placements if one.reserves] == [
        "cet_training"
    ]
    ours = {one.model: (one.devices, one.max_batch_size, one.max_sequence_length) for one in PAPER.deployment}
    assert ours == {one.model: (one.devices, one.max_batch_size, one.max_sequence_length) for one in served}


def test_the_model_library(block: Block) -> None:
    models = read_paper_blocks(block("model_library.txt")).models
    assert len(models) == 29
    for model in models:
        known = PAPER.resolve(model.name)
        assert known.library == model.group
        assert known.strength == model.strength
        assert model.context in (None, known.context)


def test_the_phases(block: Block) -> None:
    assert read_paper_blocks(block("phase_model_sets.txt")).phases == PAPER.phases


def test_limits_and_fallback_chain(block: Block) -> None:
    read = read_paper_blocks(block("api_manager.txt"))
    assert read.limits == PAPER.constants.limits
    assert read.fallback_chain == PAPER.policies.fallback_chain


def test_available_models_and_storage(block: Block) -> None:
    read = read_paper_blocks(block("model_manager.txt"))
    assert len(read.models) == 21
    assert all(PAPER.knows(model.name) for model in read.models)
    assert read.storage["fast_tier"] == "/mnt/irina/fast/models/"


def test_specs_carry_declared_speed(block: Block) -> None:
    models = {
        model.name: model.variants[0] for model in read_paper_blocks(block("local_model_specs.txt")).models
    }
    assert models["llama3.1-70b-q4"].tokens_per_s == 30
    assert {PAPER.variant(name).tokens_per_s for name in models} == {30, 50, 80, 100}


def test_prices_and_monthly_figures(block: Block) -> None:
    read = read_paper_blocks(block("costs.txt"))
    assert read.prices["gpt-4o"] == 1100
    assert read.prices["deepseek-r1"] is None
    assert read.prices["local_7b_model"] == 1
    assert read.monthly["monthly_100m_tokens"]["p40_roi_months"] == 6.8


def test_metrics(block: Block) -> None:
    assert read_paper_blocks(block("metrics.yaml")).metrics == PAPER.constants.metrics


def test_code_without_a_block_is_empty() -> None:
    assert read_paper_blocks("def f():\n    return {'a': 1}\n") == PaperBlocks()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deploymnt:\n  x: {gpus: [a]}\n", r"unknown block \(did you mean deployment\?\)"),
        ("model_libary = {}\n", r"did you mean model_library\?"),
        ("local_model_specs = {'a': {'vram_required': 'much'}}", "'much' is not a size"),
        ("deployment:\n  x: {}\n", "deployment: cannot be read"),
        ("phase_model_sets = {'p': {'primary': [open('x')]}}", "cannot be read"),
        ("a: [", "neither YAML nor Python"),
    ],
)
def test_a_block_that_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_paper_blocks(text)
