"""The state as one JSON file: written beside, flushed to disk, renamed over."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestra_errors import DataLoss
from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.phases import RotationState
from orchestra_model_manager.domain.wishes import Swapped
from orchestra_model_manager.ports import State

VERSION = 1


class StateFile:
    """One file in the state folder.

    A file that cannot be read is refused, not replaced: it may hold a phase that took weeks.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"

    def load(self) -> State:
        """The State as last saved; an empty one when there is no file. Raises DataLoss."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return State()
        try:
            return _read(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(
                str(self._path), f"cannot be read ({error}); move it away to begin anew"
            ) from error

    async def save(self, state: State) -> None:
        await asyncio.to_thread(self._write, json.dumps({"version": VERSION, **asdict(state)}, indent=1))

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        with beside.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(data: dict[str, Any]) -> State:
    if data["version"] != VERSION:
        raise ValueError(f"it has version {data['version']}, this manager reads {VERSION}")
    rotation = data["rotation"]
    swapped = data["swapped"]
    return State(
        rotation=RotationState(**rotation) if rotation else None,
        swapped=Swapped(
            added=tuple((node, model) for node, model in swapped["added"]),
            removed=tuple((node, model) for node, model in swapped["removed"]),
        ),
        holds=_holds(data["holds"]),
        scheduled=_holds(data["scheduled"]),
    )


def _holds(data: list[dict[str, Any]]) -> tuple[Hold, ...]:
    return tuple(Hold(**{**one, "device_ids": tuple(one["device_ids"])}) for one in data)
