"""What the flows need of the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from orchestra.inference.v1 import node_pb2
from orchestra_model_manager.domain.holds import Hold
from orchestra_model_manager.domain.phases import RotationState
from orchestra_model_manager.domain.wishes import Swapped

Clock = Callable[[], float]
"""Seconds. Leases and back-off use a monotonic one, holds and rotation the epoch's."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that must survive a kill -9. `rotation` None: no phase has begun."""

    rotation: RotationState | None = None
    swapped: Swapped = field(default_factory=Swapped)
    holds: tuple[Hold, ...] = ()
    scheduled: tuple[Hold, ...] = ()
    """Holds of the deployment's file that were taken in: one that was ended by hand stays ended."""


class StateStore(Protocol):
    """Keeps one State. `save` returns when it is durable."""

    def load(self) -> State: ...

    async def save(self, state: State) -> None: ...


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """What a node is asked to load: a ModelSpec's values."""

    model: str
    path: str
    expected_revision: str = ""
    engine: str = "auto"
    device_ids: tuple[str, ...] = ()
    context_tokens: int | None = None
    slots: int | None = None
    quantization: str = ""
    chat: bool = True
    options: tuple[tuple[str, str], ...] = ()


class Nodes(Protocol):
    """Acts on one node, by its address. Raises kinds of orchestra_errors."""

    def load(self, address: str, order: LoadOrder) -> AsyncIterator[node_pb2.LoadProgress]:
        """Progress until the model serves."""
        ...

    async def unload(self, address: str, model: str, drain_s: float) -> None:
        """Returns when the memory is free."""
        ...

    async def close(self) -> None: ...
