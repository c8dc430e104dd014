"""What the file says about money arrives whole in the ledger's words."""

from __future__ import annotations

from orchestra_config import Config, Electricity, Price
from orchestra_cost_ledger.flows.seeding import budgets_of, prices_of

NOW = 1_795_348_800_000_000


def test_a_price_keeps_its_steps_with_all_their_rates() -> None:
    price = Price.model_validate(
        {
            "provider": "google",
            "model": "gemini",
            "input": 1_000,
            "cache_write": 1_250,
            "steps": [{"above_prompt_tokens": 200_000, "input": 2_000, "cached_input": 200}],
            "batch_discount": 0.5,
            "source": "test",
        }
    )
    (row,) = prices_of([price], Electricity())
    (step,) = row.steps
    assert (step.from_prompt_tokens, step.input_nanos_per_million) == (200_001, 2_000_000_000)
    assert step.cached_input_nanos_per_million == 200_000_000
    assert not step.HasField("output_nanos_per_million")
    assert (row.cache_write_nanos_per_million, row.batch_factor) == (1_250_000_000, 0.5)
    assert not row.HasField("output_nanos_per_million")


def test_the_tariff_is_the_row_of_every_local_model() -> None:
    (row,) = prices_of([], Electricity(per_kwh=150_000_000, source="bill"))
    assert (row.provider, row.model, row.electricity_nanos_per_kwh) == ("local", "*", 150_000_000)


def test_a_soft_and_a_hard_limit_are_two_budgets_and_electricity_stays_electricity() -> None:
    config = Config.model_validate(
        {
            "budgets": [
                {"name": "together", "tier": "together", "soft": 50, "hard": 100},
                {"name": "power", "tier": "local", "electricity": True, "soft": 40},
            ]
        }
    )
    found = [(one.name, one.limit_nanos, one.hard, one.electricity_only) for one in budgets_of(config, NOW)]
    assert found == [
        ("together", 100, True, False),
        ("together (soft)", 50, False, False),
        ("power", 40, False, True),
    ]
