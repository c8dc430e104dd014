"""What a model draws and holds while it works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from orchestra_inference_node.domain.measuring import Rounds
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.ports import Meter

_EVERY_S = 0.25


class Gauges:
    """A meter of the devices, and the memory of the worker's process."""

    def __init__(self, meter: Meter, memory_of: Callable[[str], int | None]) -> None:
        self._meter = meter
        self._memory_of = memory_of

    @asynccontextmanager
    async def read_into(self, seen: Rounds, resident: Resident) -> AsyncIterator[None]:
        """Samples while the block runs; once at its end where it was shorter than that."""
        # a meter that tells the mean since it was last asked begins here
        await self._meter.watts(resident.device_ids)
        sampled = len(seen.memory_bytes)
        task = asyncio.create_task(self._sample_on(seen, resident), name="watts and memory")
        try:
            yield
            if len(seen.memory_bytes) == sampled:
                await self._sample(seen, resident)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _sample_on(self, seen: Rounds, resident: Resident) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self._sample(seen, resident)

    async def _sample(self, seen: Rounds, resident: Resident) -> None:
        if (watts := await self._meter.watts(resident.device_ids)) is not None:
            seen.watts.append(watts)
        if (memory := self._memory_of(resident.wanted.model)) is not None:
            seen.memory_bytes.append(memory)
