"""Prices, budgets and the tariff. All money is integer nano-dollars; an unknown price is None, never zero."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from .frozen import Frozen, Nanos
from .model_entry import Tier

Period = Literal["day", "week", "month", "lifetime"]


class PriceStep(Frozen):
    """Prices per token of a prompt longer than `above_prompt_tokens`, in nano-dollars."""

    above_prompt_tokens: int = Field(ge=1)
    input: Nanos | None = None
    output: Nanos | None = None
    cached_input: Nanos | None = None


class Price(Frozen):
    """Nano-dollars per token at one provider. None: unknown (the paper's TBD), refused under a hard budget.

    1,000 nano-dollars per token are 1 dollar per million tokens.
    """

    provider: str = Field(min_length=1)
    model: str = Field(min_length=1)
    input: Nanos | None = None
    output: Nanos | None = None
    cached_input: Nanos | None = None
    cache_write: Nanos | None = None
    reasoning: Nanos | None = Field(default=None, description="absent: as output")
    batch_discount: float = Field(
        default=0.0, ge=0, lt=1, description="share taken off in batch jobs; 0.5 is half price"
    )
    steps: tuple[PriceStep, ...] = ()
    source: str = Field(min_length=1)
    checked_on: date | None = None


class Budget(Frozen):
    """A limit per period over everything, or over what its fields name. `soft` warns, `hard` refuses."""

    name: str = Field(min_length=1)
    period: Period = "month"
    tier: Tier | None = None
    provider: str | None = None
    tenant: str | None = None
    phase: str | None = None
    run: str | None = None
    electricity: bool = Field(default=False, description="counts the energy of local models")
    soft: Nanos | None = None
    hard: Nanos | None = None
    alert_at: tuple[float, ...] = Field(
        default=(0.8, 1.0), description="shares of the limit at which to warn"
    )


class Electricity(Frozen):
    """`per_kwh` in nano-dollars; None: local energy is recorded in joules with its cost unknown."""

    per_kwh: Nanos | None = None
    source: str = ""
