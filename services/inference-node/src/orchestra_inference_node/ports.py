"""What the node needs from outside, in its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from orchestra_inference_node.domain.copies import Copied
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Output, Piece
from orchestra_inference_node.domain.inventory import CardReading, Cards
from orchestra_inference_node.domain.measuring import Drawn, Figures, LoadedAs
from orchestra_inference_node.domain.resident import Resident, Wanted


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


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What an engine would load. `quantization` is empty where the files do not say."""

    files: tuple[Path, ...]
    """Their digest is the revision of the weights; all under one folder."""
    quantization: str
    chat: bool
    """Whether there is a chat template."""
    identity: str = ""
    """Where there are no files: what stands for the revision, with its kind in front, for example
    "reported:qwen-7b". It never begins with "sha256:"."""


Inspect = Callable[[str, Mapping[str, str]], ModelFiles]
"""Looks at what a spec's path and options name, without an engine's package. It blocks.

Raises DataLoss for what is not whole, InvalidRequest for a path that is none of this engine's, OSError when
it cannot be read.
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files, checked. `revision` is "sha256:" and their digest, or what stands for it where there
    are no files; `size` in bytes."""

    revision: str
    size: int
    quantization: str


class WeightsFile(Protocol):
    """Looks at model files before anything is started for them."""

    async def check(self, wanted: Wanted, engine: str, moved: Callable[[int, int], None]) -> Weights:
        """`engine` will load them. `moved` is told bytes done and in all.

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


class CardDriver(Protocol):
    """The driver of the host's cards. Every call blocks."""

    def cards(self) -> Cards:
        """Who is there."""
        ...

    def reading(self, index: int) -> CardReading:
        """One card's memory and power now."""
        ...


class ChangeSignal(Protocol):
    """Tells that something of the node changed."""

    @property
    def version(self) -> int: ...

    async def after(self, seen: int, seconds: float | None = None) -> int:
        """The version once it is newer than `seen`, or after `seconds` whatever it is then."""
        ...


class Probe(Protocol):
    """Asks one worker process, the way callers do. Raises what they would see, WorkerLost when it ends."""

    async def draw(self, prompt: str, tokens: int) -> Drawn:
        """At most `tokens` tokens with neutral settings and a random seed. Cancelling it frees the slot."""
        ...

    async def embed(self, text: str) -> None:
        """A vector of the text, thrown away."""
        ...


class Meter(Protocol):
    """Measures what devices draw."""

    async def watts(self, device_ids: tuple[str, ...]) -> float | None:
        """Of all of them together, now or on the mean since they were last asked about; None when one of
        them has no meter, or has nothing to say yet."""
        ...


class SpeedStore(Protocol):
    """Keeps measurements over restarts."""

    def of(self, loaded: LoadedAs) -> Figures | None: ...

    async def keep(self, loaded: LoadedAs, figures: Figures) -> None:
        """Durable when it returns; a failure to write is logged, and the figures last until the daemon
        ends."""
        ...


class Tier(Protocol):
    """A fast disk for copies of model files. It blocks."""

    def copy(self, path: str, files: tuple[Path, ...], stop: Event) -> Copied:
        """Copy `files`, or all of the folder that `path` is, going on from what an interrupted copy left;
        end soon after `stop` is set.

        Raises FailedPrecondition without a fast tier or room on it, DataLoss when the disk gives back
        something else, OSError.
        """
        ...

    def forget(self, path: str) -> None:
        """Remove the copy."""
        ...
