"""Whether a model has room on its devices, and whether a process ended for want of memory. Sizes in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WANT_OF_MEMORY = re.compile(
    r"bad_alloc|out of memory|out-of-memory|OutOfMemory|cannot allocate memory|MemoryError"
    r"|(failed|unable|not possible) to (allocate|alloc)\b|cudaMalloc failed|allocation of .* failed",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Room:
    """A device. `free` is what the system or the driver calls free now, `usable` what the deployment lets
    models use; None: nobody says."""

    device_id: str
    kind: str
    free: int | None
    usable: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a model needs on its devices, in equal shares. `taken` is what its process holds and the system
    no longer calls free."""

    device_ids: tuple[str, ...]
    needed: int
    taken: int = 0

    def share(self, device_id: str) -> int:
        """What is needed of one device."""
        return self.needed // len(self.device_ids) if device_id in self.device_ids else 0

    def outstanding(self, device_id: str) -> int:
        """What it will still take of what is free."""
        return max(0, self.needed - self.taken) // len(self.device_ids) if device_id in self.device_ids else 0


def room_left(devices: Sequence[Room], claims: Iterable[Claim]) -> int | None:
    """What another model may take of the devices together, after what the others were promised; None where
    nobody can say."""
    others = list(claims)
    left = 0
    for device in devices:
        bounds = []
        if device.free is not None:
            bounds.append(device.free - sum(one.outstanding(device.device_id) for one in others))
        if device.usable is not None:
            bounds.append(device.usable - sum(one.share(device.device_id) for one in others))
        if not bounds:
            return None
        left += max(0, min(bounds))
    return left


def want_of_memory(said: str) -> bool:
    """Whether the last words of a process say that it could not get memory."""
    return _WANT_OF_MEMORY.search(said) is not None
