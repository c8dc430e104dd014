"""The bounds that a container or a service unit sets to this process's memory: control groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_V2 = ("memory.max", "memory.current")
# version 1 writes a number near 2^63 where there is no limit
_NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """Bytes. `free` counts what the kernel can take back: cached files, mapped ones too."""

    limit: int
    free: int


def memory_bound(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> MemoryBound | None:
    """The one that leaves least, of this process's group and all above it; None where nothing bounds it."""
    found = [bound for group in _groups(root, own) if (bound := _read(group)) is not None]
    return min(found, key=lambda bound: bound.free, default=None)


def _groups(root: Path, own: Path) -> Iterator[Path]:
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        group = top / path.lstrip("/")
        # in a container the path may be the host's, and only the top is to be seen
        yield top
        while group != top and top in group.parents:
            yield group
            group = group.parent


def _read(group: Path) -> MemoryBound | None:
    for limit_name, usage_name in (_V2, _V1):
        try:
            limit, usage = (int((group / name).read_text()) for name in (limit_name, usage_name))
            counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            # not this version, or "max"
            continue
        if limit >= _NO_LIMIT:
            continue
        total = "total_" if "total_inactive_file" in counts else ""
        cached = sum(int(counts.get(f"{total}{name}", 0)) for name in ("inactive_file", "active_file"))
        return MemoryBound(limit, max(0, limit - usage + cached))
    return None
