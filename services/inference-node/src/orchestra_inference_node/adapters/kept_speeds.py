"""Measurements in a file, so that they outlast the daemon."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from orchestra_inference_node.domain.measuring import Figures, LoadedAs

# what nobody loads any more is forgotten some day
_MOST = 256
log = structlog.get_logger()


class KeptSpeeds:
    """Read once, at the start; written whole, to a file beside it that then takes its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = asyncio.Lock()
        self._known = self._read()

    def of(self, loaded: LoadedAs) -> Figures | None:
        return self._known.get(loaded)

    async def keep(self, loaded: LoadedAs, figures: Figures) -> None:
        """See the port. Written in a thread."""
        self._known[loaded] = figures
        async with self._writing:
            newest = sorted(self._known.items(), key=lambda pair: -pair[1].measured_at)[:_MOST]
            self._known = dict(newest)
            await asyncio.to_thread(self._write, newest)

    def _read(self) -> dict[LoadedAs, Figures]:
        try:
            kept = json.loads(self._path.read_text())
            return dict(_pair(one) for one in kept["measured"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("kept measurements not read", file=str(self._path), because=str(error))
            return {}

    def _write(self, pairs: list[tuple[LoadedAs, Figures]]) -> None:
        text = json.dumps(
            {"measured": [{"loaded": asdict(one), "figures": asdict(seen)} for one, seen in pairs]}
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._path.with_suffix(".part")
            with scratch.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self._path)
        except OSError as error:
            log.warning("measurement not kept", file=str(self._path), because=str(error))


def _pair(kept: dict[str, Any]) -> tuple[LoadedAs, Figures]:
    """Raises KeyError, TypeError or ValueError for what this did not write."""
    loaded, figures = kept["loaded"], kept["figures"]
    devices = tuple(str(one) for one in loaded["device_ids"])
    options = tuple((str(key), str(value)) for key, value in loaded["options"])
    at = tuple((int(parallel), float(speed)) for parallel, speed in figures["at"])
    return (
        LoadedAs(**loaded | {"device_ids": devices, "options": options}),
        Figures(**{name: _number(value) for name, value in figures.items() if name != "at"}, at=at),
    )


def _number(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r} is no number")
