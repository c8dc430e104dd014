"""The one clock of the service."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Microseconds since 1970 in UTC."""


def now() -> int:
    return time.time_ns() // 1_000
