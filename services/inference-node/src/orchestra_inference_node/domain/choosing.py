"""Which engine a device gets for what a model is stored as, and why."""

from __future__ import annotations

from collections.abc import Mapping

from orchestra_inference_node.domain.devices import AUTO, DeviceFacts, EngineChoice, EngineUse
from orchestra_inference_node.domain.formats import ModelFormat

LLAMACPP = "llamacpp"
EXLLAMAV2 = "exllamav2"

_PAGED_ATTENTION_FROM = (8, 0)
_FAST_HALF_PRECISION_FROM = (7, 0)
_LLAMACPP_FROM = (5, 0)
_FASTEST_FIRST = (
    ModelFormat.EXL2,
    ModelFormat.GGUF,
    ModelFormat.CTRANSLATE2,
    ModelFormat.ONNX,
)
"""What a device itself computes, the fastest engine's format first."""
_SLOW_ON_PASCAL = (
    "a 34B model of 4 bits was seen at 1.2 tokens/s on a Tesla P40 (turboderp-org/exllamav2#40), where"
    " llama.cpp gives an 8B model at Q8_0 31 tokens/s: use a GGUF"
)


def choose_engine(
    device: DeviceFacts, asked: str, stored: ModelFormat | None, engines: Mapping[str, EngineUse]
) -> EngineChoice:
    """The engine for a model on a device.

    An engine that is named is obeyed where it computes; `auto` takes one that is fast on the device. `stored`
    None: not known, which a named engine then finds out itself.
    """
    if device.lost:
        return EngineChoice("", f"{device.device_id} cannot be used: {device.lost}")
    if asked != AUTO:
        return _named(device, asked, stored, engines)
    if stored is None:
        return EngineChoice("", "no engine loads what is there")
    able = {name: use for name, use in engines.items() if stored in use.formats}
    here = {name: use for name, use in able.items() if device.kind in use.device_kinds}
    if not here:
        return EngineChoice(
            "", f"no engine for {stored.value} computes on {_shown(device)}{_elsewhere(able)}"
        )
    refusals = []
    for name, use in here.items():
        if use.missing:
            refusals.append(_not_installed(name, use))
        elif unfit := _unfit(name, device, use):
            refusals.append(unfit)
        else:
            return EngineChoice(name, _fit(name, device))
    return EngineChoice("", f"{stored.value} on {_shown(device)}: {'; '.join(refusals)}")


def describe_device(device: DeviceFacts, asked: str, engines: Mapping[str, EngineUse]) -> EngineChoice:
    """What `auto` takes on a device whatever the model: the fastest engine, and in the reason which engine
    each format goes to."""
    if device.lost:
        return EngineChoice("", device.lost)
    if asked != AUTO:
        return _named(device, asked, None, engines)
    formats = (ModelFormat.NONE,) if device.kind == "simulated" else _FASTEST_FIRST
    choices = {stored: choose_engine(device, AUTO, stored, engines) for stored in formats}
    taken = {stored: choice for stored, choice in choices.items() if choice.engine}
    if not taken:
        known = [
            choice for stored, choice in choices.items() if any(stored in e.formats for e in engines.values())
        ]
        return EngineChoice(
            "", "; ".join(dict.fromkeys(choice.reason for choice in known)) or "there is no engine"
        )
    first = next(iter(taken.values()))
    passed_over = [choices[ModelFormat.EXL2].reason] if _passed_over(device, engines) else []
    others = [
        f"{stored.value} goes to {choice.engine}" for stored, choice in taken.items() if choice is not first
    ]
    return EngineChoice(first.engine, "; ".join([first.reason, *passed_over, *others]))


def _passed_over(device: DeviceFacts, engines: Mapping[str, EngineUse]) -> bool:
    use = engines.get(EXLLAMAV2)
    return use is not None and device.kind in use.device_kinds and bool(_unfit(EXLLAMAV2, device, use))


def _named(
    device: DeviceFacts, asked: str, stored: ModelFormat | None, engines: Mapping[str, EngineUse]
) -> EngineChoice:
    use = engines.get(asked)
    if use is None:
        return EngineChoice(
            "", f"{asked} was asked for and is not installed: this node knows {', '.join(engines)}"
        )
    if use.missing:
        return EngineChoice("", f"{asked} was asked for: {_not_installed(asked, use)}")
    if device.kind not in use.device_kinds:
        kinds = " and ".join(sorted(use.device_kinds))
        return EngineChoice("", f"{asked} was asked for: it computes on {kinds}, not on {_shown(device)}")
    if stored is not None and not use.formats & {stored, ModelFormat.NONE}:
        loads = " or ".join(sorted(one.value for one in use.formats))
        able = {name: other for name, other in engines.items() if stored in other.formats}
        return EngineChoice(
            "", f"{asked} was asked for: it loads {loads}, not {stored.value}{_elsewhere(able)}"
        )
    if asked == EXLLAMAV2 and (unfit := _unfit(asked, device, use)):
        return EngineChoice(asked, "named in the deployment", unfit, _expected(device), most_slots=1)
    return EngineChoice(asked, "named in the deployment")


def _unfit(name: str, device: DeviceFacts, use: EngineUse) -> str:
    """Why `auto` leaves an engine that computes on the device: what was measured of cards. Empty: it does
    not."""
    if device.kind != "cuda":
        return ""
    if name == LLAMACPP and device.capability is not None and device.capability < _LLAMACPP_FROM:
        return "it is too old for llamacpp"
    if name != EXLLAMAV2:
        return ""
    alone = "one slot, taken only where it is named"
    if device.capability is None:
        return f"exllamav2 is fast from compute capability 8.0 on; {alone}"
    if device.capability < _PAGED_ATTENTION_FROM:
        return f"exllamav2 has no paged attention below compute capability 8.0: {alone}"
    if not use.paged:
        return f"exllamav2 has no paged attention without flash-attn, which is not installed: {alone}"
    return ""


def _fit(name: str, device: DeviceFacts) -> str:
    if device.kind != "cuda":
        return f"{name} computes on {_shown(device)}"
    if name == EXLLAMAV2:
        return f"{_shown(device)} has paged attention, which is fastest with {name}"
    return f"{name} runs on {_shown(device)}"


def _expected(device: DeviceFacts) -> str:
    if device.capability is None:
        return "not known: one request at a time"
    if device.capability < _FAST_HALF_PRECISION_FROM:
        return f"one request at a time, and half-precision arithmetic is slow on this card: {_SLOW_ON_PASCAL}"
    return "one request at a time; its speed on this card was not measured"


def _shown(device: DeviceFacts) -> str:
    if device.kind == "cpu":
        return "a CPU"
    if device.kind != "cuda":
        return f"a {device.kind} device"
    if device.capability is None:
        return "a CUDA card of unknown compute capability"
    return "a CUDA card of compute capability {}.{}".format(*device.capability)


def _not_installed(name: str, use: EngineUse) -> str:
    extra = f"the extra {name} of orchestra-inference-node brings it"
    return f"{name} loads it and is not installed: {', '.join(use.missing)} is missing ({extra})"


def _elsewhere(able: Mapping[str, EngineUse]) -> str:
    if not able:
        return ""
    return "; " + ", ".join(
        f"{name} loads it on {' and '.join(sorted(use.device_kinds))}"
        + (f" (not installed: {', '.join(use.missing)})" if use.missing else " as it is installed")
        for name, use in able.items()
    )
