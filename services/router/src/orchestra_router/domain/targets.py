"""What the router knows of the mesh at one moment, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LOCAL = "local"
"""Provider and tier of a model on the owner's machines."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a target can do. `None` is not known, and excludes nothing: the target itself refuses by name."""

    context_tokens: int | None = None
    max_top_logprobs: int | None = None
    max_n: int | None = None
    can: frozenset[str] = frozenset()
    """Of: chat, logprobs, prompt_logprobs, json_schema, grammar, token_ids_in, token_ids_out, tools, images,
    audio, embeddings, score."""
    deterministic_seed: bool = False
    generate: bool = True
    """False: it only embeds or scores."""
    known: bool = True
    """False: nothing of `can` was declared."""


@dataclass(frozen=True, slots=True)
class Power:
    """For pricing local work."""

    watts: float | None = None
    measured: bool = False
    hardware_nanos_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the node keeps of MeasureModel for exactly this model, revision, engine and devices. None: not
    measured."""

    at: tuple[tuple[int, float], ...] = ()
    """Requests at once, ascending, with the tokens per second of all of them together."""
    first_token_s: float | None = None
    prefill_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The deployment's rule on one model at one place. The default allows everything."""

    name: str = ""
    rule: str = ""
    chosen: bool = True
    """False: only a request that names the model gets it."""
    needs_flag: bool = False
    """Naming it is not enough: allow_eliminated must be set."""
    fallback: bool = False
    """A fallback chain may reach it although it is not chosen."""
    only_validation: bool = False
    only_phase: str = ""
    only_complex: bool = False
    needs_price: bool = False
    only_missing_capability: bool = False
    above_prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One place that answers for one model: a worker process, or a model at a cloud provider."""

    model: str
    """The catalogue's name."""
    served_as: str = ""
    """The name that its node or proxy knows it by; empty: the same."""
    provider: str = LOCAL
    tier: str = LOCAL
    node_id: str = ""
    worker_id: str = ""
    instance_id: str = ""
    address: str = ""
    serving: bool = True
    state: str = "serving"
    """serving, loading, draining, wanted, failed or lost; for a cloud model also not_configured."""
    state_reason: str = ""
    abilities: Abilities = Abilities()
    slots_total: int = 0
    slots_free: int = 0
    queued: int = 0
    tokens_per_second: float | None = None
    """Over the last minute of work; None until there was some."""
    measured: Measured | None = None
    """None: nobody measured it as it is loaded now."""
    revision: str = ""
    quantization: str = ""
    engine: str = ""
    power: Power = Power()
    verdict: Verdict = Verdict()

    @property
    def local(self) -> bool:
        return self.provider == LOCAL

    @property
    def speed_seen(self) -> float | None:
        """Tokens per second: of the last minute of work, else of one request as it was measured."""
        if self.tokens_per_second is None and self.measured is not None and self.measured.at:
            return self.measured.at[0][1]
        return self.tokens_per_second

    @property
    def key(self) -> str:
        """Names this target and this process of it."""
        return f"{self.worker_id}@{self.instance_id}" if self.local else f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the catalogue says of a model."""

    name: str
    aliases: tuple[str, ...] = ()
    family: str = ""
    tier: str = LOCAL
    provider: str = LOCAL
    specialities: frozenset[str] = frozenset()
    context_tokens: int | None = None
    quality: Mapping[str, int] = field(default_factory=dict)
    """Ordinal by request type, larger is better; the key "" holds for every type."""
    quality_source: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Targets and models as last heard."""

    targets: tuple[Target, ...] = ()
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    phase: str = ""
    heard_at: float | None = None
    """On the monotonic clock; None: the model-manager was never heard."""

    def of(self, model: str) -> tuple[Target, ...]:
        return tuple(target for target in self.targets if target.model == model)

    def facts(self, model: str) -> ModelFacts:
        return self.models.get(model) or ModelFacts(model)


@dataclass(frozen=True, slots=True)
class Load:
    """What this replica itself has sent where."""

    running: Mapping[str, int] = field(default_factory=dict)
    """Samples running by target key."""
    last_turn: Mapping[str, int] = field(default_factory=dict)
    """By model, the number of the last request that chose it; absent: never."""
    failing: Mapping[str, float] = field(default_factory=dict)
    """By target key, until when (monotonic clock) it is tried last, because it just failed."""

    def work_at(self, target: Target) -> int:
        """What runs and waits there, by the larger of the target's report and our own count."""
        reported = target.slots_total - target.slots_free + target.queued
        return max(reported, self.running.get(target.key, 0))

    def share_taken(self, target: Target) -> float:
        """Work per slot."""
        return self.work_at(target) / max(1, target.slots_total)
