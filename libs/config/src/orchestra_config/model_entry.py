"""A model as `orchestra.yaml` adds it, or overrides it when the catalogue already has its name."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from .frozen import Bytes, Frozen, FrozenMap

Capability = Literal[
    "chat", "completion", "logprobs", "grammar", "seed", "tools", "embed", "score", "image", "audio"
]
TrainingUseVerdict = Literal["allowed", "validation_only", "forbidden_by_terms", "unknown"]
Tier = Literal["local", "together", "premium"]
StorageTier = Literal["fast", "slow"]
WeightFormat = Literal["gguf", "exl2", "safetensors", "ctranslate2", "onnx"]


class TrainingUse(Frozen):
    """May answers of this model train another one? With who says so and when it was looked up."""

    verdict: TrainingUseVerdict = "unknown"
    source: str = ""
    checked_on: date | None = None


class ModelEntry(Frozen):
    """One servable model. `name` equal to a catalogue name overrides the fields that are set here."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    family: str = Field(default="", description="training lineage; four of one family are not four kinds")
    path: str = Field(default="", description="weights file or folder on every host that serves it")
    package: str = Field(default="", description="installed package whose files hold the weights")
    url: str = Field(default="", description="where it is fetched from, for import")
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    revision: str = ""
    format: WeightFormat = "gguf"
    context: int | None = Field(default=None, ge=1, description="tokens of prompt and answer together")
    parallel: int = Field(default=1, ge=1, description="slots: sequences decoded at once")
    quantization: str = Field(default="", description="for example Q4_1, 4-bit, none")
    size: Bytes | None = Field(default=None, description="bytes on disk")
    vram_required: Bytes | None = Field(default=None, description="bytes needed with its cache")
    chat_template: bool = Field(True, description="false: a base model, raw prompts only")
    capabilities: tuple[Capability, ...] = ()
    specialities: tuple[str, ...] = Field(
        default=(), description="open list, see request types in the catalogue"
    )
    storage_tier: StorageTier = "fast"
    tokens_per_s: float | None = Field(default=None, gt=0, description="declared decode speed of one stream")
    licence: str = ""
    training_use: TrainingUse = TrainingUse()
    options: FrozenMap[str, str | int | float | bool] = Field(
        default_factory=dict, description="for the engine"
    )
