"""PAPER.md names real files, every item of the paper has a row, no figure differs without a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestra_config import UnknownName, catalogue
from orchestra_config.figures import differences, ours_of, paper_figures, parsed

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "libs/config/PAPER.md"
DATA = "libs/config/src/orchestra_config/data/"

NAMES = """
LLMOrchestra Llama3_70B_Quantized MistralLarge_Quantized Llama3_8B CodeLlama7B QwenCoder7B
Llama3_2_3B Phi3_Mini TogetherAI AnthropicClient OpenAIClient GoogleClient IntelligentRouter
ResponseCache ModelManager APIManager RateLimit SecureAPIClient HashiCorpVault RedisCluster
BatchProcessor swap_models unload_from_gpu load_to_gpu get_api_keys route_request
select_fastest_available select_highest_quality select_specialized_model load_balance_round_robin
cache_key batch_requests optimize_model_selection prefer_local_then_together_ai
orchestrate_diverse_models select_premium_apis local_with_together_ai_fallback route_by_cost
measure_diversity calculate_ast_diversity calculate_embedding_diversity
calculate_solution_approach_diversity local_models together_ai_models premium_apis local_model_specs
model_storage available_models loaded_models max_loaded model_library phase_model_sets deployment
rate_limits fallback_chain rotation_schedule cache_ttl max_cache_size cost_per_1m_tokens
monthly_100m_tokens monthly_200m_tokens metrics syntactic_diversity semantic_diversity
approach_diversity request_latency_p99 model_availability cache_hit_rate cost_per_request
diversity_score error_rate
"""
ITEMS = re.findall(r"\w+", NAMES)
PLACEHOLDERS = (
    "Balancing model quality with memory constraints",
    "Auto-scaling based on queue depth",
    "Strategies for improving cache hit rates",
    "Concurrent request handling across models",
    "Strategies for maximizing response variety",
    "Critical alerts and escalation",
    "To be added",
)


def rows() -> list[tuple[str, str, str, str]]:
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 4 and cells[0] != "§" and not set(cells[0]) <= {"-"}:
            found.append((cells[0], cells[1], cells[2], cells[3]))
    return found


def files_in(text: str) -> list[Path]:
    named = (
        name.replace("data/", DATA, 1) if name.startswith("data/") else name
        for name in re.findall(r"`([^`]+)`", text)
    )
    return [ROOT / name for name in named if re.match(r"(libs|services|protos|compose|tests)/", name)]


def test_the_table_is_read_whole() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    tables = sum(line.startswith("| §") for line in lines)
    assert len(rows()) == len(lines) - 2 * tables > 60


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[1][:50])
def test_every_row_names_files_that_exist_or_says_what_is_missing(row: tuple[str, str, str, str]) -> None:
    where = row[2]
    existing = where.split("missing:")[0]
    assert files_in(existing) or "missing: " in where, "a row names a file or says what is missing"
    gone = [
        str(path.relative_to(ROOT)) for path in (*files_in(where), *files_in(row[3])) if not path.exists()
    ]
    assert not gone


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_of_the_paper_has_one_row(item: str) -> None:
    assert sum(f"`{item}`" in row[1] for row in rows()) == 1


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_every_placeholder_has_a_row(placeholder: str) -> None:
    assert sum(f"[{placeholder}]" in row[1] for row in rows()) == 1


def test_a_figure_differs_only_with_a_note_that_names_a_contradiction() -> None:
    unexplained = [
        f"{one.figure.what}: paper {one.figure.paper}, ours {one.ours}"
        for one in differences()
        if not one.explained
    ]
    assert not unexplained


def test_no_note_explains_a_figure_that_agrees() -> None:
    differing = {one.figure for one in differences()}
    assert not [figure.what for figure in paper_figures() if figure.note and figure not in differing]


def test_every_declared_size_speed_and_price_is_compared() -> None:
    compared = {figure.at for figure in paper_figures()}
    paper = catalogue()
    own = {
        f"variant:{variant.name}.{field}"
        for model in paper.models
        for variant in model.variants
        for field in ("size", "vram_required", "tokens_per_s")
        if getattr(variant, field) is not None
    }
    assert not own - compared
    priced = {
        f"price:{price.provider}/{price.model}.input" for price in paper.prices if price.input is not None
    }
    assert not priced - compared


@pytest.mark.parametrize(
    "address", ["nowhere:x", "variant:llama3.1-70b.size", "price:openai/llama3.1-70b.input", "card:x.memory"]
)
def test_an_address_that_leads_nowhere_is_an_error(address: str) -> None:
    with pytest.raises(UnknownName):
        ours_of(address)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$0.88/M", 880),
        ("~500MB", 500_000_000),
        ("10M tokens", 10_000_000),
        ("12 hours", 12.0),
        ("30 tokens/sec", 30.0),
        ("35%-40%", (0.35, 0.4)),
        ("$50-100", (50_000_000_000, 100_000_000_000)),
        ("TBD", None),
        ("fast", "fast"),
    ],
)
def test_the_papers_way_of_writing_is_read(text: str, value: object) -> None:
    assert parsed(text) == value
