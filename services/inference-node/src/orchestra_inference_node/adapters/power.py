"""What devices draw, where something measures it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
# the counter itself moves about once a millisecond
_LEAST_SPAN_S = 0.05

Watts = Callable[[], float | None]


class DeviceMeters:
    """One reading for each device that has a meter; devices that share one, as the CPUs of a host do, are
    counted once."""

    def __init__(self, of: Mapping[str, Watts], refresh: Callable[[], Awaitable[None]]) -> None:
        """`refresh` is awaited before each reading, for those that only tell what was last seen."""
        self._of = of
        self._refresh = refresh

    async def watts(self, device_ids: tuple[str, ...]) -> float | None:
        """See the port."""
        await self._refresh()
        meters = {self._of.get(device) for device in device_ids}
        found = [meter() if meter is not None else None for meter in meters]
        known = [watts for watts in found if watts is not None]
        return sum(known) if known and len(known) == len(found) else None


class CpuPackages:
    """The energy counters (RAPL) of all processor packages of this host. Many systems let root alone read
    them; then there is no meter."""

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # "intel-rapl:0" is a package, "intel-rapl:0:1" a part of one, on AMD's processors as well
        self._packages = sorted(zone for zone in root.glob("intel-rapl:*") if zone.name.count(":") == 1)
        self._before: tuple[float, tuple[int, ...]] | None = None
        self._last: float | None = None

    def watts(self) -> float | None:
        """The mean since this was last asked; None at first, and where nothing can be read."""
        now = self._clock()
        try:
            joules = tuple(int((zone / "energy_uj").read_text()) for zone in self._packages)
            ranges = tuple(int((zone / "max_energy_range_uj").read_text()) for zone in self._packages)
        except (OSError, ValueError):
            return None
        if not joules:
            return None
        if self._before is None:
            self._before = now, joules
            return None
        since, seen = self._before
        if now - since < _LEAST_SPAN_S:
            return self._last
        micro = sum(
            # a counter that is full begins again
            (after - before) if after >= before else (after - before + most)
            for after, before, most in zip(joules, seen, ranges, strict=True)
        )
        self._before = now, joules
        self._last = micro / 1e6 / (now - since)
        return self._last
