"""Devices, and engines by what they load and where."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra_inference_node.domain.formats import ModelFormat

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """`kind` as the deployment names it; `capability` the CUDA compute capability, None for the CPU and where
    it is not known. `lost` says why nothing can run on it; empty: it is there. `free` in bytes."""

    device_id: str
    kind: str
    capability: tuple[int, int] | None = None
    lost: str = ""
    free: int | None = None


@dataclass(frozen=True, slots=True)
class EngineUse:
    """What an engine loads and where it computes, as it is installed. `missing` are packages that are not."""

    formats: frozenset[ModelFormat]
    device_kinds: frozenset[str]
    missing: tuple[str, ...] = ()
    splits: bool = False
    """Spreads one model over several cards."""
    paged: bool = True
    """Has what it needs for paged attention on a card that can do it."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`engine` is empty when none can use the device; `reason` says why it is so.

    `degraded` says what is amiss with an engine that was asked for, `expected_speed` what it is then expected
    to do; `most_slots` bounds the requests at once. All for people.
    """

    engine: str
    reason: str
    degraded: str = ""
    expected_speed: str = ""
    most_slots: int | None = None
