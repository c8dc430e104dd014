"""What a stream yields. `index` is the sample's position within its request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orchestra_errors import OrchestraError

from .sample import Sample

if TYPE_CHECKING:
    from orchestra.generation.v1.provenance_pb2 import Provenance
    from orchestra.generation.v1.usage_pb2 import Cost, Usage


@dataclass(frozen=True, slots=True)
class Started:
    """A sample has begun. `again` says that what came of it before is void (only with allow_restart)."""

    index: int
    provenance: Provenance
    again: bool = False


@dataclass(frozen=True, slots=True)
class TextDelta:
    """One or more tokens of the answer; `text` may be empty when they end inside a character."""

    index: int
    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A reasoning model's thought."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call; `id` and `name` come with the first of a call."""

    index: int
    call_index: int
    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The work goes on though no token comes.

    `activity` is queued, loading_model, prefill, decode or waiting_for_provider; `elapsed` in seconds; `done`
    and `total` prompt tokens while prefill, `ahead` requests while queued, None where not known.
    """

    index: int
    activity: str
    elapsed: float
    done: int | None = None
    total: int | None = None
    ahead: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A sample is whole."""

    index: int
    sample: Sample


@dataclass(frozen=True, slots=True)
class Failed:
    """One sample of several has failed; the others go on. What it consumed is charged."""

    index: int
    error: OrchestraError
    text: str
    provenance: Provenance
    usage: Usage
    cost: Cost


Event: TypeAlias = "Started | TextDelta | ReasoningDelta | ToolCallDelta | Heartbeat | Finished | Failed"
