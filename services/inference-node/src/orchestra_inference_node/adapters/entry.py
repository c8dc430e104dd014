"""What the table of engines knows of one engine, without importing it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestra_inference_node.domain.formats import ModelFormat
from orchestra_inference_node.domain.options import Options


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One engine. `packages` must be installed for it; `device_kinds` are those it computes on."""

    factory: str
    """`module:class`; the class takes LoadSettings, loads in its constructor and is an Engine."""
    packages: tuple[str, ...]
    formats: frozenset[ModelFormat]
    device_kinds: frozenset[str]
    options: Options
    memory: str = ""
    """`module:function`; the function takes LoadSettings and gives the bytes needed, or None where it cannot
    say. Empty: nobody can say before loading."""
