"""Which engine a device gets, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

AUTO = "auto"
LLAMACPP = "llamacpp"
EXLLAMAV2 = "exllamav2"

_PAGED_ATTENTION_FROM = (8, 0)
_LLAMACPP_FROM = (5, 0)


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """`kind` is cpu or cuda; `capability` the CUDA compute capability, None for the CPU and where it is
    not known."""

    device_id: str
    kind: str
    capability: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """`engine` is empty when none can use the device.

    `degraded` says what is amiss with an engine that was asked for.
    """

    engine: str
    reason: str
    degraded: str = ""


def choose_engine(device: DeviceFacts, asked: str, installed: Collection[str]) -> EngineChoice:
    """The engine for a device.

    An engine that is named is obeyed; `auto` takes the fastest that the card can run.
    """
    if asked != AUTO:
        if asked not in installed:
            return EngineChoice("", f"{asked} was asked for and is not installed")
        return EngineChoice(asked, "named in the deployment", _amiss(device, asked))
    if device.kind == "cpu":
        return _first(installed, LLAMACPP, "the CPU is served by llama.cpp")
    if device.capability is None:
        return _first(installed, LLAMACPP, "compute capability not known: llama.cpp runs on most cards")
    shown = "{}.{}".format(*device.capability)
    if device.capability >= _PAGED_ATTENTION_FROM and EXLLAMAV2 in installed:
        return EngineChoice(EXLLAMAV2, f"compute capability {shown} has paged attention")
    if device.capability < _LLAMACPP_FROM:
        return EngineChoice("", f"compute capability {shown} is too old for every engine")
    why = (
        "exllamav2 is not installed"
        if device.capability >= _PAGED_ATTENTION_FROM
        else ("below 8.0 exllamav2 has one slot and half-precision arithmetic is slow")
    )
    return _first(installed, LLAMACPP, f"compute capability {shown}: {why}")


def _first(installed: Collection[str], engine: str, reason: str) -> EngineChoice:
    if engine in installed:
        return EngineChoice(engine, reason)
    return EngineChoice("", f"{reason}, and {engine} is not installed")


def _amiss(device: DeviceFacts, asked: str) -> str:
    if asked != EXLLAMAV2:
        return ""
    if device.kind == "cpu":
        return "exllamav2 does not run on a CPU"
    if device.capability is not None and device.capability < _PAGED_ATTENTION_FROM:
        return (
            "no paged attention below compute capability 8.0: one slot, about ten times slower than llama.cpp"
        )
    return ""
