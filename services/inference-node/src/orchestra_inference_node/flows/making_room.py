"""Memory before a load: what the model needs, against what is left on its devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from orchestra_errors import InsufficientMemory
from orchestra_inference_node.domain.fitting import Claim, Room, room_left
from orchestra_inference_node.domain.inventory import DeviceNow
from orchestra_inference_node.domain.resident import Resident
from orchestra_inference_node.flows.watching import DeviceWatch


class MakingRoom:
    """Promises memory to models that are about to load, so that two of them do not both take what is there
    for one."""

    def __init__(
        self,
        watch: DeviceWatch,
        needed: Callable[[Resident], int | None],
        pretending: Collection[str] = (),
    ) -> None:
        """`needed` may look at files; None: the engine cannot say. `pretending` engines take no real memory:
        what they declare counts only against what a device is declared to have."""
        self._watch = watch
        self._needed = needed
        self._pretending = frozenset(pretending)

    async def claim(self, resident: Resident, others: Callable[[], Iterable[Claim]]) -> None:
        """Promise what the model needs. Raises InsufficientMemory with the bytes needed and free."""
        needed = await asyncio.to_thread(self._needed, resident)
        await self._watch.refresh()
        # nothing is awaited from here on: another load would see the same room
        free = room_left(self._rooms(resident), others())
        if needed is not None and free is not None and needed > free:
            raise self.short(resident, needed, free)
        resident.memory_needed = needed

    async def now(self, resident: Resident, others: Callable[[], Iterable[Claim]]) -> InsufficientMemory:
        """The error for a load that ended for want of memory all the same."""
        await self._watch.refresh()
        free = room_left(self._rooms(resident), others())
        return self.short(resident, resident.memory_needed, free)

    def short(self, resident: Resident, needed: int | None, free: int | None) -> InsufficientMemory:
        return InsufficientMemory(resident.wanted.model, ", ".join(resident.device_ids), needed, free)

    def claimed(self, resident: Resident, private: int | None) -> Claim:
        """What a held model was promised. `private` are the bytes of its process that no file backs: the
        system calls mapped weights free."""
        needed = resident.memory_needed or private or 0
        if resident.engine in self._pretending:
            return Claim(resident.device_ids, needed, taken=needed)
        if any(now.declared.kind == "cpu" for now in self._on(resident.device_ids)):
            return Claim(resident.device_ids, needed, private or 0)
        # the driver counts what a model holds once it serves; until then all of it may still come
        return Claim(resident.device_ids, needed, needed if resident.serving_since is not None else 0)

    def _rooms(self, resident: Resident) -> list[Room]:
        real = resident.engine not in self._pretending
        return [
            Room(
                now.declared.device_id,
                now.declared.kind,
                now.reading.memory_free if real else None,
                now.declared.memory,
            )
            for now in self._on(resident.device_ids)
        ]

    def _on(self, device_ids: Sequence[str]) -> list[DeviceNow]:
        return [now for now in self._watch.devices if now.declared.device_id in device_ids]
