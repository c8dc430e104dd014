"""NVIDIA's driver as it would show the scripted cards: for a daemon, which asks it and never torch.

SCRIPTED_CARDS, SCRIPTED_CARD_BYTES and SCRIPTED_CAPABILITY say what there is, as for the engine.
"""

from __future__ import annotations

import os
from types import SimpleNamespace


class NVMLError(Exception):
    """What no call here raises."""


def nvmlInit() -> None: ...


def nvmlShutdown() -> None: ...


def nvmlSystemGetDriverVersion() -> str:
    return "scripted"


def nvmlDeviceGetCount() -> int:
    return int(os.environ.get("SCRIPTED_CARDS", 1))


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetName(handle: int) -> str:
    return "scripted card"


def nvmlDeviceGetUUID(handle: int) -> str:
    return f"GPU-scripted-{handle}"


def nvmlDeviceGetCudaComputeCapability(handle: int) -> tuple[int, int]:
    major, minor = os.environ.get("SCRIPTED_CAPABILITY", "8.6").split(".")
    return int(major), int(minor)


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:
    total = int(os.environ.get("SCRIPTED_CARD_BYTES", 24 * 1024**3))
    return SimpleNamespace(total=total, free=total, used=0)


def nvmlDeviceGetPowerUsage(handle: int) -> int:
    return 100_000


def nvmlDeviceGetPowerManagementLimit(handle: int) -> int:
    return 350_000
