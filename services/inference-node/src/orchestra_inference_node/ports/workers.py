"""The processes that hold models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from orchestra_inference_node.domain.measuring import Drawn
from orchestra_inference_node.domain.resident import Resident


class WorkerHandle(Protocol):
    """A worker's process."""

    def reports(self) -> AsyncIterator[dict[str, Any]]:
        """What it says of itself, until its end."""
        ...

    def memory_bytes(self) -> int | None:
        """Resident memory; None when it is gone or cannot be measured."""
        ...

    def private_bytes(self) -> int | None:
        """Resident memory that no file backs; None when it is gone or cannot be measured."""
        ...

    def drain(self, seconds: float) -> None:
        """Tell it to finish what runs and end; what still runs after `seconds` is cut."""
        ...

    def kill(self) -> None:
        """End it now; nothing happens when it has ended."""
        ...

    async def ended(self) -> str:
        """How it ended, once it has."""
        ...


class WorkerStarter(Protocol):
    """Starts processes."""

    async def start(self, resident: Resident) -> WorkerHandle: ...


class Probe(Protocol):
    """Asks one worker process, the way callers do. Raises what they would see, WorkerLost when it ends."""

    async def draw(self, prompt: str, tokens: int) -> Drawn:
        """At most `tokens` tokens with neutral settings and a random seed. Cancelling it frees the slot."""
        ...

    async def embed(self, text: str) -> None:
        """A vector of the text, thrown away."""
        ...
