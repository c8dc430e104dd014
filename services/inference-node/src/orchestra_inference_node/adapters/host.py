"""What the host is made of, as far as no vendor's library is needed."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from orchestra_inference_node.domain.inventory import Cpu


def read_cpu() -> Cpu:
    """The processor now."""
    memory = _meminfo()
    return Cpu(_cpu_name(), memory.get("MemTotal") or _total(), memory.get("MemAvailable"))


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
