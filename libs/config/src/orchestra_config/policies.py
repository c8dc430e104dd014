"""How the router chooses when a request leaves it open. Defaults are the paper's (section 5.1, 8.2, 4.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .frozen import Frozen
from .model_entry import Tier

Objective = Literal["speed", "quality", "specialization", "cost", "round_robin"]
Bound = Literal["at_least", "at_most"]
PhasePreference = Literal[
    "local_then_together", "diverse_all_tiers", "premium", "local_with_together_fallback"
]


class TierShare(Frozen):
    """Share of requests over the window that a tier is to take. Not acted on yet."""

    tier: Tier
    bound: Bound
    share: float = Field(ge=0, le=1)


class Policies(Frozen):
    """`default_objective` serves a request that names none.

    Not acted on yet: `wishes` (the order of several in one request), `tier_shares`, `share_window_s`,
    `preference`.
    """

    default_objective: Objective = "round_robin"
    wishes: tuple[Objective, ...] = ("speed", "quality", "specialization", "cost", "round_robin")
    tier_shares: tuple[TierShare, ...] = (
        TierShare(tier="local", bound="at_least", share=0.95),
        TierShare(tier="together", bound="at_most", share=0.05),
        TierShare(tier="premium", bound="at_most", share=0.01),
    )
    share_window_s: float = Field(default=86_400.0, gt=0)
    fallback_chain: tuple[str, ...] = ("gpt4", "claude", "gemini")
    preference: PhasePreference = Field(
        default="local_with_together_fallback", description="outside of every phase"
    )
