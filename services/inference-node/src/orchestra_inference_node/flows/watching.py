"""The host's devices as they are now, give or take a bounded age."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from orchestra_inference_node.domain.inventory import (
    CardReading,
    Cards,
    Cpu,
    Declared,
    DeviceNow,
    amiss,
    match,
)
from orchestra_inference_node.flows.changes import Changes
from orchestra_inference_node.ports import CardDriver

_EVERY_S = 2.0
# a card that hangs holds the call to it for long
_SILENT_S = 10.0
log = structlog.get_logger()


class DeviceWatch:
    """Asks the system and the cards' driver in a thread. Reserved cards are found and never measured."""

    def __init__(
        self,
        declared: Sequence[Declared],
        driver: CardDriver | None,
        read_cpu: Callable[[], Cpu],
        changes: Changes,
    ) -> None:
        """`driver` None: the cards of the deployment are not real ones, and are taken as declared."""
        self._declared = tuple(declared)
        self._driver = driver
        self._read_cpu = read_cpu
        self._changes = changes
        self._asking: asyncio.Task[tuple[DeviceNow, ...]] | None = None
        self.devices: tuple[DeviceNow, ...] = tuple(map(DeviceNow, declared))
        self.amiss = ""

    async def refresh(self) -> None:
        """Ask now; those who ask at the same time wait for one answer."""
        if self._asking is None:
            self._asking = asyncio.create_task(asyncio.to_thread(self._ask), name="devices")
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=_SILENT_S)
        if not done:
            self._say(f"the driver has not answered for {_SILENT_S:g} s")
            return
        if self._asking is not asking:
            return
        self._asking = None
        if (error := asking.exception()) is not None:
            # what was seen last stays, and the next look may go better
            log.error("devices cannot be read", exc_info=error)
            self._say(f"the devices cannot be read: {error}")
            return
        self.devices = asking.result()
        self._say(amiss(self.devices))

    async def run(self) -> None:
        """Keep looking, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(_EVERY_S)

    def _say(self, what: str) -> None:
        if what != self.amiss:
            self.amiss = what
            if what:
                log.warning("devices are not as declared", because=what)
            self._changes.touch()

    def _ask(self) -> tuple[DeviceNow, ...]:
        if self._driver is None:
            found = tuple(DeviceNow(one, one.model, capability=one.capability) for one in self._declared)
        else:
            asked = any(one.kind == "cuda" for one in self._declared)
            found = match(self._declared, self._driver.cards() if asked else Cards())
        return tuple(map(self._read, found))

    def _read(self, now: DeviceNow) -> DeviceNow:
        if now.declared.kind == "cpu":
            cpu = self._read_cpu()
            return replace(now, name=cpu.name, reading=CardReading(cpu.memory_total, cpu.memory_free))
        if self._driver is None or not now.uuid or now.index is None or now.declared.reserved:
            return now
        reading = self._driver.reading(now.index)
        if reading.failure:
            return replace(now, amiss=reading.failure, lost=True)
        return replace(now, reading=reading)
