"""What the host is made of, as far as no vendor's library is needed."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from orchestra_inference_node.adapters.cgroup import memory_bound
from orchestra_inference_node.domain.inventory import Cpu


def read_cpu() -> Cpu:
    """The processor and the memory now: the host's, or what a container or service unit leaves of it."""
    memory = _meminfo()
    total, free = memory.get("MemTotal") or _total(), memory.get("MemAvailable")
    if (bound := memory_bound()) is not None:
        total = bound.limit if total is None else min(total, bound.limit)
        free = bound.free if free is None else min(free, bound.free)
    return Cpu(_cpu_name(), total, free)


def oom_kills() -> int | None:
    """How many processes the kernel has ended for want of memory since it started; None where it does not
    say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _meminfo() -> dict[str, int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if len(words) == 3}


def _total() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
