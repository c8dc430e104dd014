"""The paper as data: every name leads somewhere, the notes' decisions hold, a deployment lies over it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra_config import Config, UnknownName, catalogue, loads, merged

Read = Callable[..., Config]
PAPER = catalogue()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("granite-20b", "granite-code-20b"),
        ("phi-3", "phi-3-mini"),
        ("qwen2.5-max", "qwen2.5-max-72b"),
        ("gpt4", "gpt-4o"),
        ("claude", "claude-sonnet"),
        ("gemini", "gemini-2.5-pro"),
        ("llama3.1-70b-q4", "llama3.1-70b"),
        ("mistral-large", "mistral-large"),
    ],
)
def test_a_name_of_the_paper_means_one_model(name: str, model: str) -> None:
    assert PAPER.resolve(name).name == model


def test_a_large_model_on_local_cards_is_its_four_bit_variant() -> None:
    assert PAPER.variant("llama3.1-70b").name == "llama3.1-70b-q4"
    assert PAPER.variant("deepseek-r1-70b").vram_required == 48 * 10**9
    assert PAPER.variant("llama3.1-70b-q8").size == 70 * 10**9
    assert PAPER.variant("starcoder2-15b").quantization == "none"
    with pytest.raises(UnknownName):
        PAPER.variant("gpt-4o")


def test_size_on_disk_and_need_of_memory_are_two_fields() -> None:
    variant = PAPER.variant("llama3.1-70b-q4")
    assert (variant.size, variant.vram_required) == (35 * 10**9, 48 * 10**9)


def test_a_name_that_leads_nowhere_offers_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        PAPER.resolve("granit-20b")
    assert caught.value.nearest[0] == "granite-20b"
    assert isinstance(caught.value, LookupError)


@given(st.text(max_size=30))
def test_any_text_resolves_or_is_unknown(name: str) -> None:
    try:
        assert PAPER.resolve(name) in PAPER.models
    except UnknownName as error:
        assert set(error.nearest) <= set(PAPER.names)


def test_groups_families_and_patterns_expand() -> None:
    assert [model.name for model in PAPER.expand("qwen-variants")] == [
        "qwen2.5-coder-1.5b",
        "qwen2.5-coder-7b",
        "qwen2.5-coder-14b",
        "qwen2.5-coder-32b",
        "qwen2.5-max-72b",
    ]
    assert {model.name for model in PAPER.expand("starcoder2")} == {
        "starcoder2-15b",
        "starcoder2-7b",
        "starcoder2-3b",
    }
    assert len(PAPER.expand("qwen2.5-coder-*")) == 4
    with pytest.raises(UnknownName):
        PAPER.resolve("qwen-variants")


def test_every_name_expands_and_every_group_member_exists() -> None:
    assert all(PAPER.expand(name) for name in PAPER.names)
    assert len({model.name for model in PAPER.models}) == len(PAPER.models)
    assert len(set(PAPER.names)) == len(PAPER.names)


def test_the_phases_hold_the_models_that_the_paper_prints() -> None:
    assert [
        len(PAPER.models_of(word)) for word in ("training_phase_1_2", "training_phase_3", "production")
    ] == [13, 12, 4]
    assert PAPER.models_of("validation") == ()
    assert [PAPER.phase(f"phase_{n}").rotation_hours for n in (1, 2, 3, 4)] == [12, 6, 4, None]
    assert {group.role for group in PAPER.phase("phase_3").groups} == {
        "code_generators",
        "testing_evaluators",
    }
    with pytest.raises(UnknownName):
        PAPER.phase("training_phase_1_2")


def test_every_model_has_a_family_sections_and_a_training_use_with_source_and_date() -> None:
    for model in PAPER.models:
        assert model.family and model.sections and model.specialities and model.tiers, model.name
        assert model.training_use.source and model.training_use.checked_on, model.name
        if "premium" in model.tiers:
            assert model.training_use.verdict == "validation_only", model.name
    kinds = {one.name for one in PAPER.policies.request_types}
    assert {speciality for model in PAPER.models for speciality in model.specialities} <= kinds


def test_every_cloud_model_has_a_price_line_and_every_price_a_source_and_date() -> None:
    for model in PAPER.models:
        for offer in model.offers:
            assert PAPER.price(offer.provider, model.name), (offer.provider, model.name)
    for price in PAPER.prices:
        assert price.checked_on
        assert PAPER.resolve(price.model).offer(price.provider), price
        assert price.provider in {provider.name for provider in PAPER.providers}
    unknown = PAPER.price("together", "deepseek-r1")
    assert unknown is not None and unknown.input is None
    assert PAPER.price("openai", "llama3.1-70b") is None


def test_verdicts_stand_on_the_offer_and_have_a_rule() -> None:
    by_model = {
        model.name: offer.verdict for model in PAPER.models for offer in model.offers if offer.verdict
    }
    assert by_model["claude-opus"] == "eliminated"
    assert not PAPER.verdict("eliminated").chosen
    assert PAPER.verdict("eliminated").needs == "allow_eliminated"
    assert PAPER.verdict("rarely").max_share == 0.02
    assert PAPER.verdict("large_context").above_prompt_tokens == 128_000
    assert set(by_model.values()) == {verdict.name for verdict in PAPER.policies.verdicts}
    assert PAPER.resolve("deepseek-r1-70b").offers == ()


def test_defaults_of_a_deployment_are_the_papers() -> None:
    default = Config()
    assert default.policies.wishes == PAPER.policies.wishes
    assert default.policies.fallback_chain == PAPER.policies.fallback_chain
    assert [tuple(one) for one in default.policies.tier_shares] == [
        tuple(one) for one in PAPER.policies.tier_shares
    ]
    assert default.policies.default_objective == PAPER.policies.default_objective
    assert default.cache.max_bytes == PAPER.constants.cache_max
    assert loads("", environment={}).services.router.batch_size == PAPER.constants.batch_size


def test_the_local_stack_has_the_papers_budgets() -> None:
    from orchestra_config.paper_data import data_text

    local = loads(data_text("local.yaml"), environment={"ORCHESTRA_MODELS_DIR": "/m"})
    assert local.budgets == PAPER.constants.budgets


def test_every_row_of_the_matrix_speaks_of_every_column() -> None:
    keys = {column.key for column in PAPER.columns}
    assert len(PAPER.matrix) == 9
    for row in PAPER.matrix:
        assert set(row.cells) == keys
        assert all(cell.words for cell in row.cells.values())
        for cell in row.cells.values():
            if "xpected" in cell.words or "likely to" in cell.words:
                assert cell.ordinal is None, cell.words
    assert all(PAPER.resolve(name) for column in PAPER.columns for name in column.models)
    assert PAPER.grade("gpt-5", "coding") is None
    assert PAPER.grade("gemini", "context") == 1_000_000
    assert PAPER.grade("phi-4", "coding") is None
    with pytest.raises(UnknownName):
        PAPER.grade("gpt-5", "codng")


def test_contradictions_keep_every_figure_and_say_which_is_used() -> None:
    for note in PAPER.contradictions:
        assert len(note.figures) >= 2 and note.used and note.why, note.what
        assert all(figure.section for figure in note.figures)


def test_plans_name_models_and_say_what_does_not_fit() -> None:
    for plan in PAPER.plans:
        cards = sum((PAPER.card(name).memory or 0) * count for name, count in plan.cards.items())
        assert cards == plan.capacity, plan.name
        assert all(PAPER.knows(name) for name in (*plan.always_loaded, *plan.rotation_pool, *plan.evaluators))
        needed = sum(PAPER.variant(name).vram_required or 0 for name in plan.always_loaded)
        assert bool(plan.must_shrink) == (needed > plan.capacity), plan.name


def test_a_deployment_adds_and_overrides_models(read: Read) -> None:
    shown = merged(
        read(
            """
models:
  - {name: smollm2-135m, family: smollm, path: /m/s.gguf, context: 8192, quantization: Q4_1, size: 98MB}
  - {name: codellama-7b, context: 4096, path: /m/c.gguf, quantization: Q4_K_M, vram_required: 5GB}
  - {name: llama3.1-70b-q4, path: /m/l.gguf, vram_required: 44GB}
phases:
  define: [{name: trial, groups: [{always_loaded: [smollm2-135m], rotation_pool: [phi-3]}]}]
"""
        )
    )
    added = shown.resolve("smollm2-135m")
    assert (added.family, added.tiers, shown.variant("smollm2-135m").size) == (
        "smollm",
        ("local",),
        98 * 10**6,
    )
    overridden = shown.resolve("codellama-7b")
    assert (overridden.family, overridden.context) == ("codellama", 4096)
    assert shown.variant("codellama-7b").vram_required == 5 * 10**9
    assert overridden.entry is not None and overridden.entry.path == "/m/c.gguf"
    assert shown.variant("llama3.1-70b").vram_required == 44 * 10**9
    assert shown.variant("llama3.1-70b-q8").size == 70 * 10**9
    assert [model.name for model in shown.models_of("trial")] == ["smollm2-135m", "phi-3-mini"]
    assert PAPER.resolve("codellama-7b").entry is None


def test_a_deployment_replaces_prices_and_providers(read: Read) -> None:
    shown = merged(
        read(
            """
providers:
  - {name: together, kind: together, tier: together, secrets: [t]}
  - {name: lab, kind: openai, tier: together}
prices:
  - {provider: together, model: qwen2.5-max, input: 500, output: 900, source: price page}
  - {provider: lab, model: phi-4, input: 0, output: 0, source: our own server}
"""
        )
    )
    price = shown.price("together", "qwen2.5-max-72b")
    assert price is not None and (price.input, price.output) == (500, 900)
    assert shown.price("lab", "phi-4") is not None
    assert [one.secrets for one in shown.providers if one.name == "together"] == [("t",)]
