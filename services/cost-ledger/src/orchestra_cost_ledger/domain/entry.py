"""What one attempt consumed, as it is kept. None is not known, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class EntryState(IntEnum):
    """The numbers are the contract's."""

    SETTLED = 1
    VOIDED = 2
    ESTIMATED = 3
    UNKNOWN = 4


class Dimensions(NamedTuple):
    """What budgets look at. `tier` is the contract's number; 0 is not said."""

    tenant: str
    run_id: str
    provider: str
    tier: int
    phase: str


class Entry(NamedTuple):
    """One attempt. Money in nano-dollars, times in microseconds; the store's columns have these names."""

    attempt_id: str
    request_id: str
    sample_id: str
    sample_index: int
    tenant: str
    run_id: str
    phase: str
    tier: int
    provider: str
    model: str
    revision: str
    node_id: str
    state: int
    prompt_tokens: int | None
    cached_prompt_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    cache_write_tokens: int | None
    queued_us: int | None
    to_first_token_us: int | None
    total_us: int | None
    device_share_us: int | None
    cost_state: int
    cost_nanos: int | None
    electricity_nanos: int | None
    hardware_nanos: int | None
    saved_nanos: int | None
    price_version: str
    finish_reason: int
    labels: str | None
    trace_id: str
    reservation_id: str
    occurred_at: int
    from_cache: int
    error_reason: str

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(self.tenant, self.run_id, self.provider, self.tier, self.phase)

    @property
    def frees_its_reservation(self) -> bool:
        """A reservation whose cost nobody knows stays held until somebody reconciles it."""
        return self.state == EntryState.VOIDED or (
            self.state != EntryState.UNKNOWN and self.cost_nanos is not None
        )


@dataclass(frozen=True, slots=True)
class Feedback:
    """A trainer's judgement of a sample; of several the one that was given last counts."""

    sample_id: str
    tenant: str
    run_id: str
    accepted: bool | None
    reward: float | None
    labels: Mapping[str, str]
    given_at: int
