"""How many threads an engine takes that nobody told."""

from __future__ import annotations

import os


def half_the_cores() -> int:
    """An engine is not alone on its host, and threads that wait for one without a core stall all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)
