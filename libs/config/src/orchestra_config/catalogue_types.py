"""What the catalogue is made of: models with variants and offers, hardware, verdicts, plans, contradictions.

Sizes are bytes, prices integer nano-dollars per token, speeds tokens per second. None is unknown, never zero.
`sections` and `section` point into the paper.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .frozen import Bytes, Frozen, FrozenDict, FrozenMap, Nanos
from .model_entry import ModelEntry, StorageTier, Tier, TrainingUse, WeightFormat
from .money import Budget
from .policies import Bound, PhasePreference
from .providers import Limits

VerdictName = Literal[
    "eliminated",
    "rarely",
    "conditional",
    "skip",
    "targeted",
    "primary",
    "large_context",
    "on_request",
    "compared",
]


class Variant(Frozen):
    """Weights of one quantization. `size` is on disk, `vram_required` what a card needs with the cache."""

    name: str
    quantization: str = "unstated"
    size: Bytes | None = None
    vram_required: Bytes | None = None
    storage_tier: StorageTier = "slow"
    format: WeightFormat | None = Field(default=None, description="what an engine here loads it from")
    tokens_per_s: float | None = Field(default=None, description="declared in section 3.1, not measured")
    hardware: str = ""
    named_in_paper: bool = Field(default=False, description="false: the name is ours")
    sections: tuple[str, ...] = ()


class Offer(Frozen):
    """One provider that serves the model, under its own id."""

    provider: str
    tier: Tier
    provider_id: str
    paper_name: str = ""
    verdict: VerdictName | None = None
    remark: str = ""
    sections: tuple[str, ...] = ()


class CatalogueModel(Frozen):
    """One model. `entry` is what `orchestra.yaml` says of it, when it says something."""

    name: str
    family: str
    title: str = ""
    kind: Literal["generator", "evaluator"] = "generator"
    library: str = Field(default="", description="group of section 3.3")
    specialities: tuple[str, ...] = ()
    strength: str = Field(default="", description="the paper's words")
    context: int | None = Field(default=None, description="tokens; None until the weights say")
    training_use: TrainingUse = TrainingUse()
    variants: tuple[Variant, ...] = ()
    offers: tuple[Offer, ...] = ()
    remark: str = ""
    sections: tuple[str, ...] = ()
    entry: ModelEntry | None = None

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Where it can be had: local when it has variants, then the tiers of its offers."""
        local: tuple[Tier, ...] = ("local",) if self.variants else ()
        return tuple(dict.fromkeys((*local, *(offer.tier for offer in self.offers))))

    @property
    def stored_as(self) -> WeightFormat | None:
        """What its weights are to be stored as, by the deployment or the catalogue; None: nobody says."""
        if self.entry is not None and "format" in self.entry.model_fields_set:
            return self.entry.format
        return next((variant.format for variant in self.variants if variant.format), None)

    def offer(self, provider: str) -> Offer | None:
        """The offer of that provider, or None."""
        return next((offer for offer in self.offers if offer.provider == provider), None)


class Card(Frozen):
    """A GPU model. `paper_memory` stands where the paper also gives another figure."""

    name: str
    title: str
    memory: Bytes
    paper_memory: Bytes | None = None
    compute_capability: str = ""
    watts: float | None = None
    idle_watts: float | None = None
    price: Nanos | None = None
    remark: str = ""
    sections: tuple[str, ...] = ()


class Host(Frozen):
    """A host of the paper: device id to card name."""

    name: str
    title: str
    devices: FrozenMap[str, str]
    reserved: tuple[str, ...] = ()
    lent: str = ""
    storage: Bytes | None = None
    fast_tier: str = ""
    slow_tier: str = ""
    remark: str = ""
    sections: tuple[str, ...] = ()


class PaperDeployment(Frozen):
    """A line of section 3.4's deployment block."""

    model: str
    host: str
    devices: tuple[str, ...]
    max_batch_size: int
    max_sequence_length: int


class Verdict(Frozen):
    """What a verdict of section 8.2 allows. `chosen` false: no objective or phase takes the model."""

    name: VerdictName
    chosen: bool
    rule: str
    needs: str = Field(default="", description="flag that a request must set beside naming the model")
    fallback: bool = Field(
        default=False, description="a fallback chain may reach it although it is not chosen"
    )
    max_share: float | None = None
    of: str = Field(default="", description="what the share is counted in: validation, or a phase")
    only_complex: bool = False
    needs_price: bool = False
    only_missing_capability: bool = False
    above_prompt_tokens: int | None = None
    instead: str = ""


class RequestType(Frozen):
    """A kind of request that a speciality answers."""

    name: str
    words: str


class Preference(Frozen):
    """A branch of `optimize_model_selection`."""

    when: str
    preference: PhasePreference
    reason: str


class SharedTier(Frozen):
    """A tier's share of requests."""

    tier: Tier
    bound: Bound
    share: float


class PolicyData(Frozen):
    """Sections 4.1, 5.1 and 8.2 as data."""

    wishes: tuple[str, ...]
    quality_sources: tuple[str, ...]
    fallback_chain: tuple[str, ...]
    default_objective: str
    request_types: tuple[RequestType, ...]
    tier_shares: tuple[SharedTier, ...]
    verdicts: tuple[Verdict, ...]
    optimize_model_selection: tuple[Preference, ...]
    tier_words: FrozenMap[Tier, str]


class Plan(Frozen):
    """A named placement plan. `monthly` gives the paper's dollars as nano-dollars, lowest and highest."""

    name: str
    title: str
    cards: FrozenMap[str, int]
    capacity: Bytes
    always_loaded: tuple[str, ...]
    rotation_pool: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()
    stands_for: str = ""
    slot: Bytes | None = None
    rotation_hours: tuple[float, ...] = ()
    must_shrink: tuple[str, ...] = ()
    shrink_reason: str = ""
    monthly: FrozenMap[str, tuple[Nanos, Nanos]] = Field(default_factory=FrozenDict)
    one_time: Nanos | None = None
    sections: tuple[str, ...] = ()


class Claim(Frozen):
    """A figure as one place gives it."""

    value: str
    section: str


class Contradiction(Frozen):
    """Two or more figures for one thing, which one is used, and why."""

    what: str
    figures: tuple[Claim, ...] = Field(min_length=2)
    used: str
    why: str


class Cell(Frozen):
    """The paper's words and a figure to compare by; None is unknown."""

    ordinal: int | None
    words: str


class MatrixColumn(Frozen):
    """A column of section 8.0 and the catalogue models that it speaks of."""

    key: str
    title: str
    models: tuple[str, ...]


class MatrixRow(Frozen):
    """A row of section 8.0."""

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    scale: str
    cells: FrozenMap[str, Cell]


class LocalClaim(Frozen):
    """What the paper says a local token costs: shown, never charged."""

    what: str
    nanos_per_token: Nanos
    source: str


class Constants(Frozen):
    """Defaults of the paper. Times in `targets` are milliseconds, shares are 0 to 1, counts are per day."""

    max_loaded: int
    loaded_at_a_time: tuple[int, int]
    batch_size: int
    cache_ttl_s: float
    cache_max: Bytes
    key_rotation_days: int
    limits: FrozenMap[str, Limits]
    budgets: tuple[Budget, ...]
    targets: FrozenMap[str, float | tuple[float, float]]
    metrics: tuple[str, ...]
    diversity: tuple[str, ...]
