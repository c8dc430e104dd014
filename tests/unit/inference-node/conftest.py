"""A native NVML of the test's own: C functions by ctypes, put where pynvml loads the driver's library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED
GPU_IS_LOST = pynvml.NVML_ERROR_GPU_IS_LOST
_TEXTS = {NOT_SUPPORTED: b"Not Supported", GPU_IS_LOST: b"GPU is lost"}
_DEVICE = pynvml.c_nvmlDevice_t
_UINT = ctypes.POINTER(ctypes.c_uint)
_INT = ctypes.POINTER(ctypes.c_int)


@dataclass
class FakeCard:
    """Bytes and milliwatts; `milliwatts` None: it has no meter. `lost`: every call to it fails."""

    name: str
    capability: tuple[int, int]
    total: int
    free: int
    milliwatts: int | None = 50_000
    limit: int = 250_000
    lost: bool = False
    asked: list[str] = field(default_factory=list)


class FakeNvml:
    """What `CDLL("libnvidia-ml.so.1")` would give. Handles are the card's index and one."""

    def __init__(self, *cards: FakeCard) -> None:
        self.cards = list(cards)
        self.opened = 0
        self.nvmlInitWithFlags = _function(self._opens, ctypes.c_uint)
        self.nvmlShutdown = _function(self._closes)
        self.nvmlErrorString = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int)(
            lambda code: _TEXTS.get(code, b"Unknown Error")
        )
        self.nvmlSystemGetDriverVersion = _function(
            lambda out, room: _text(out, room, "580.95.05"), ctypes.c_void_p, ctypes.c_uint
        )
        self.nvmlDeviceGetCount_v2 = _function(lambda out: _put(out, len(self.cards)), _UINT)
        self.nvmlDeviceGetHandleByIndex_v2 = _function(self._handle, ctypes.c_uint, ctypes.POINTER(_DEVICE))
        named = (ctypes.c_void_p, ctypes.c_uint)
        self.nvmlDeviceGetName = self._of_card(
            "name", lambda card, out, room: _text(out, room, card.name), *named
        )
        self.nvmlDeviceGetUUID = self._of_card(
            "uuid", lambda card, out, room: _text(out, room, f"GPU-{self.cards.index(card)}"), *named
        )
        self.nvmlDeviceGetMemoryInfo = self._of_card("memory", _memory, ctypes.POINTER(pynvml.c_nvmlMemory_t))
        self.nvmlDeviceGetCudaComputeCapability = self._of_card("capability", _capability, _INT, _INT)
        self.nvmlDeviceGetPowerUsage = self._of_card("power", _power, _UINT)
        self.nvmlDeviceGetPowerManagementLimit = self._of_card(
            "limit", lambda card, out: _put(out, card.limit), _UINT
        )

    def _opens(self, flags: int) -> int:
        self.opened += 1
        return 0

    def _closes(self) -> int:
        self.opened -= 1
        return 0

    def _handle(self, index: int, out: Any) -> int:
        if not 0 <= index < len(self.cards):
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        out[0] = ctypes.cast(index + 1, _DEVICE)
        return 0

    def _of_card(self, asked: str, answer: Callable[..., int], *types: Any) -> Any:
        def call(handle: int, *args: Any) -> int:
            card = self.cards[handle - 1]
            card.asked.append(asked)
            return int(GPU_IS_LOST) if card.lost else answer(card, *args)

        return _function(call, ctypes.c_void_p, *types)


@pytest.fixture
def card() -> type[FakeCard]:
    """Makes a card."""
    return FakeCard


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNvml]:
    """Gives the host a driver that shows the cards named, until the test ends."""

    def shows(*cards: FakeCard) -> FakeNvml:
        library = FakeNvml(*cards)
        monkeypatch.setattr(pynvml, "CDLL", lambda name: library)
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return library

    return shows


def _function(answer: Callable[..., int], *types: Any) -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int, *types)(answer)


def _put(out: Any, value: int) -> int:
    out[0] = value
    return 0


def _text(out: int, room: int, text: str) -> int:
    ctypes.memmove(out, text.encode() + b"\0", min(room, len(text) + 1))
    return 0


def _memory(card: FakeCard, out: Any) -> int:
    out[0].total, out[0].free, out[0].used = card.total, card.free, card.total - card.free
    return 0


def _capability(card: FakeCard, major: Any, minor: Any) -> int:
    major[0], minor[0] = card.capability
    return 0


def _power(card: FakeCard, out: Any) -> int:
    return int(NOT_SUPPORTED) if card.milliwatts is None else _put(out, card.milliwatts)
