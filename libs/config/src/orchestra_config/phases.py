"""Training phases: which models are always there, which rotate, and how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .frozen import Frozen

PhaseRole = Literal["models", "code_generators", "testing_evaluators"]


class PhaseGroup(Frozen):
    """Models of one role within a phase. Names may be aliases or families (`qwen-variants`)."""

    role: PhaseRole = "models"
    always_loaded: tuple[str, ...] = ()
    rotation_pool: tuple[str, ...] = ()
    always_loaded_as: str = Field(
        default="always_loaded", description="the paper's word, for example primary"
    )


class Phase(Frozen):
    """A phase; `rotation_hours` absent means that nothing rotates."""

    name: str = Field(min_length=1)
    groups: tuple[PhaseGroup, ...] = Field(min_length=1)
    rotation_hours: float | None = Field(default=None, gt=0)
    purpose: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """Every name of the phase as written, in order, once."""
        names = (name for group in self.groups for name in (*group.always_loaded, *group.rotation_pool))
        return tuple(dict.fromkeys(names))


class Phases(Frozen):
    """`start` is the phase at first start (absent: placements decide); `define` adds or replaces by name."""

    start: str | None = None
    define: tuple[Phase, ...] = ()
