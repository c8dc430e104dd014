"""What the node needs from outside, in its own words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Output
from orchestra_inference_node.domain.resident import Resident, Wanted


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a loaded engine is and can do. `context_tokens` counts prompt and answer of one request."""

    name: str
    build: str
    context_tokens: int
    slots: int
    chat: bool
    logprobs: bool
    max_top_logprobs: int
    prompt_logprobs: bool
    json_schema: bool
    grammar: bool
    token_ids_in: bool
    token_ids_out: bool
    deterministic_seed: bool
    stop_token_ids: bool


class Engine(Protocol):
    """One loaded model."""

    @property
    def facts(self) -> EngineFacts: ...

    async def tokenize(self, prompt: tuple[ChatMessage, ...] | str) -> tuple[int, ...]:
        """The prompt as the model sees it: a chat through its template, a text as it stands. Raises
        InvalidRequest."""
        ...

    def generate(self, draw: Draw, idle_s: float) -> AsyncGenerator[Output]:
        """Prefill reports, pieces in order, one End; Idle whenever nothing came for `idle_s` seconds.

        Ready pieces merge while the reader is slow. The caller holds a slot. Closing the iterator returns
        once the engine's slot is free. Raises InvalidRequest
        for what the engine finds wrong with the draw, WorkerLost when the engine failed.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How to load a model. `device_threads` None: what the process may use."""

    model: str
    path: Path
    context_tokens: int | None
    slots: int | None
    chat: bool
    device_threads: int | None
    options: dict[str, str]
    scratch: Path
    """A private folder of the process, for sockets."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's file, checked. `revision` is "sha256:" and its digest, `size` in bytes."""

    revision: str
    size: int
    quantization: str


class WeightsFile(Protocol):
    """Looks at model files before anything is started for them."""

    async def check(self, wanted: Wanted, moved: Callable[[int, int], None]) -> Weights:
        """`moved` is told bytes done and in all.

        Raises NotFound, DataLoss, or FailedPrecondition for another revision.
        """
        ...


class WorkerHandle(Protocol):
    """A worker's process."""

    def reports(self) -> AsyncIterator[dict[str, Any]]:
        """What it says of itself, until its end."""
        ...

    def memory_bytes(self) -> int | None:
        """Resident memory; None when it is gone or cannot be measured."""
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


class ChangeSignal(Protocol):
    """Tells that something of the node changed."""

    @property
    def version(self) -> int: ...

    async def after(self, seen: int, seconds: float | None = None) -> int:
        """The version once it is newer than `seen`, or after `seconds` whatever it is then."""
        ...
