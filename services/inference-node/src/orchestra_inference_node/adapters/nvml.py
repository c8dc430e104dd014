"""NVIDIA's cards by NVML. Every call blocks; a call to a card that hangs may block long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pynvml

from orchestra_inference_node.domain.inventory import Card, CardReading, Cards

T = TypeVar("T")


class Nvml:
    """The driver's own view. A host without a driver has no cards, and says why."""

    def __init__(self) -> None:
        self._open = False

    def cards(self) -> Cards:
        """Who is there; nothing of it is measured."""
        try:
            if not self._open:
                pynvml.nvmlInit()
                self._open = True
            driver = pynvml.nvmlSystemGetDriverVersion()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            return Cards(absent=f"the driver cannot be asked: {error}")
        return Cards(tuple(self._card(index) for index in range(count)), driver)

    def reading(self, index: int) -> CardReading:
        """What a card says of itself now."""
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        except pynvml.NVMLError as error:
            return CardReading(failure=str(error))
        return CardReading(
            memory.total,
            memory.free,
            _watts(lambda: pynvml.nvmlDeviceGetPowerUsage(handle)),
            _watts(lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle)),
        )

    def close(self) -> None:
        """Nothing of the driver is held afterwards."""
        if self._open:
            self._open = False
            pynvml.nvmlShutdown()

    def _card(self, index: int) -> Card:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            return Card(
                index,
                pynvml.nvmlDeviceGetName(handle),
                pynvml.nvmlDeviceGetUUID(handle),
                _told(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
            )
        except pynvml.NVMLError as error:
            return Card(index, failure=str(error))


def _told(ask: Callable[[], T]) -> T | None:
    """None where the card does not say: small ones have no meter."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _watts(ask: Callable[[], int]) -> float | None:
    milliwatts = _told(ask)
    return None if milliwatts is None else milliwatts / 1000
