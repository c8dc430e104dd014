"""One loaded model, and what loading it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Output, Piece


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a loaded engine is and can do; what it cannot is refused by name before it reaches the engine.

    `context_tokens` counts prompt and answer of one request. The names are the contract's Capabilities.
    """

    name: str
    build: str
    context_tokens: int
    slots: int
    generate: bool = True
    chat: bool = False
    logprobs: bool = False
    max_top_logprobs: int = 0
    prompt_logprobs: bool = False
    json_schema: bool = False
    grammar: bool = False
    token_ids_in: bool = False
    token_ids_out: bool = False
    deterministic_seed: bool = False
    embeddings: bool = False
    score: bool = False
    missing_sampling: tuple[str, ...] = ()
    """Fields of Sampling that the engine cannot set to other than neutral."""
    forks: bool = False
    """Draws that are handed over together share one prefill, and afterwards only the first one's slot still
    holds the prompt."""


class Outputs(Protocol):
    """One draw as it comes. An asynchronous generator is one."""

    def __aiter__(self) -> AsyncIterator[Output]: ...

    async def __anext__(self) -> Output: ...

    async def aclose(self) -> None:
        """End the draw, whether or not anything was read of it; return once the engine's slot is free."""
        ...


class Engine(Protocol):
    """One loaded model."""

    @property
    def facts(self) -> EngineFacts: ...

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        """The prompt as the model sees it: a chat through its template, a text as it stands.

        `special`: with the tokens that begin every prompt of this model. Raises InvalidRequest.
        """
        ...

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[Outputs, ...]:
        """A stream for each draw. The draws differ in their seeds alone and share one prefill where the
        engine can; the caller holds a slot for each.

        A stream gives prefill reports, pieces in order, one End; Idle whenever nothing came for `idle_s`
        seconds. Ready pieces merge while the reader is slow. Closing a stream ends its draw and returns once
        the engine's slot is free. Streams raise InvalidRequest for what the engine finds wrong with the
        draw, Unavailable or WorkerLost when the engine failed.
        """
        ...

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        """A vector of unit length for each text, in order. Raises Unsupported, InvalidRequest for a text
        that is too long."""
        ...

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """The model's own logprobs of the target after the prompt, before any sampling setting: one entry
        a token, with the `top` most likely besides. Raises Unsupported, InvalidRequest."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LoadMoved:
    """How far a load is, as the engine counts. None: it does not count that."""

    bytes_done: int | None = None
    bytes_total: int | None = None
    layers_done: int | None = None
    layers_total: int | None = None


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """A device that an engine computes on. `kind` is cpu or cuda, `index` the CUDA ordinal in the worker's
    process, which sees no other cards; `memory` in bytes is what models may use of it, None where nobody
    knows."""

    device_id: str
    kind: str
    index: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How to load a model. `device_threads` None: what the process may use."""

    model: str
    path: str
    """As the spec names it."""
    context_tokens: int | None
    slots: int | None
    chat: bool
    device_threads: int | None
    options: dict[str, str]
    scratch: Path
    """A private folder of the process, for sockets."""
    devices: tuple[EngineDevice, ...] = ()
    """Where to compute, in the order of the spec; none: the CPU."""
    moved: Callable[[LoadMoved], None] = lambda _: None
    """Told as the load goes on; from any thread."""
    revision: str = ""
    """What was inspected, where there are no files to be sure of: another is not to be loaded."""
