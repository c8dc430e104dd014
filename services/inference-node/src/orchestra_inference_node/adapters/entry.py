"""What the table of engines knows of one engine, without importing it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import Options


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One engine. `packages` must be installed for it; `device_kinds` are those that it computes on.

    What is named as `module:attribute` is imported when it is needed: the factory in a worker alone, the
    others in the daemon, which never loads an engine's package.
    """

    factory: str
    """A class that takes LoadSettings, loads in its constructor and is an Engine."""
    inspect: str
    """A function that takes the spec's path and the options and gives ModelFiles; see `ports.Inspect`."""
    packages: tuple[str, ...]
    formats: frozenset[ModelFormat]
    device_kinds: frozenset[str]
    options: Options
    splits: bool = False
    """Spreads one model over several cuda devices."""
    kinds: str = ""
    """A module that prints, run as a program, the kinds of device that the installed package is built for and
    sees here. Empty: all of `device_kinds`."""
    memory: str = ""
    """A function that takes LoadSettings and gives the bytes that loading takes on its devices, or None where
    it cannot say. Empty: nobody can say before loading."""
