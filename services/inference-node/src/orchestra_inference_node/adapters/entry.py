"""What the table of engines knows of one engine, without importing it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra_inference_node.domain.options import Options


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One engine. `packages` must be installed for it."""

    factory: str
    """`module:class`; the class takes LoadSettings, loads in its constructor and is an Engine."""
    packages: tuple[str, ...]
    options: Options
