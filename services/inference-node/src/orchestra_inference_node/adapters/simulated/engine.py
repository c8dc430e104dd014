"""A model that is declared. It computes nothing; it takes the time, says the words and fails as its options
say."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version

from orchestra_errors import FailedPrecondition, InsufficientMemory, Unsupported, Violations
from orchestra_inference_node.adapters.simulated.answers import AnswerTree
from orchestra_inference_node.adapters.simulated.declared import Declared
from orchestra_inference_node.adapters.simulated.meaning import vector
from orchestra_inference_node.adapters.simulated.runs import Bench, Run
from orchestra_inference_node.adapters.simulated.speaking import Said, speak
from orchestra_inference_node.adapters.simulated.words import VOCABULARY, ids_of, mark_of, text_of
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece
from orchestra_inference_node.ports import EngineFacts, LoadMoved, LoadSettings, Outputs

DEFAULT_SLOTS = 8
DEFAULT_CONTEXT = 8192
_LAYERS = 32


def kill_this_process() -> None:
    """As a crash does: at once, without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


class SimulatedEngine:
    """Loads in the constructor, for as long as is declared."""

    def __init__(
        self,
        settings: LoadSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        load_sleep: Callable[[float], object] = time.sleep,
        die: Callable[[], None] = kill_this_process,
    ) -> None:
        """`clock` in seconds and `sleep` on it may be of a time that is not real; so may `load_sleep`, which
        blocks. `die` ends the process; where it returns the answer fails alone.

        Raises InvalidRequest, InsufficientMemory, and FailedPrecondition where a failure is declared.
        """
        self._model = settings.model
        self._declared = Declared.read(settings.path, settings.options)
        context = settings.context_tokens or DEFAULT_CONTEXT
        slots = settings.slots or DEFAULT_SLOTS
        _load(settings, self._declared, load_sleep)
        self._bench = Bench(
            settings.model,
            self._declared.pace,
            self._declared.failure,
            context_tokens=context,
            slots=slots,
            clock=clock,
            sleep=sleep,
            die=die,
        )
        self._facts = EngineFacts(
            name="simulated",
            build=f"orchestra {version('orchestra-inference-node')}",
            context_tokens=context,
            slots=slots,
            chat=settings.chat,
            logprobs=True,
            max_top_logprobs=20,
            token_ids_in=True,
            token_ids_out=True,
            deterministic_seed=True,
            embeddings=True,
        )

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        """A text's own tokens are all that it has; a chat has a mark before each turn, and one for the
        answer."""
        if isinstance(prompt, str):
            return ids_of(prompt)
        out: list[int] = []
        for turn in prompt:
            name = f"{turn.name}: " if turn.name else ""
            out += [mark_of(turn.role), *ids_of(f"{name}{turn.text}\n")]
        return (*out, mark_of("assistant"))

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[Outputs, ...]:
        """See the port."""
        run = Run(self._bench, draws, self._speak)
        return tuple(run.stream(at, idle_s) for at in range(len(draws)))

    def _speak(self, draw: Draw) -> Iterator[Said]:
        found = Violations()
        for field, ids in (
            ("token_ids.ids", draw.prompt_ids),
            ("sampling.stop_token_ids", draw.stop_token_ids),
        ):
            wrong = next((one for one in ids if not 0 <= one < VOCABULARY), None)
            found.require(wrong is None, field, f"{wrong} is no token of {self._model}")
        found.raise_if_any()
        answers = self._declared.answers
        return speak(draw, AnswerTree(answers, draw.prompt_ids, text_of(draw.prompt_ids)), answers.tokens)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        """See the port. The texts take the time of prompts."""
        counts = [len(ids_of(text)) for text in texts]
        found = Violations()
        limit = self._facts.context_tokens
        for at, count in enumerate(counts):
            found.require(count <= limit, f"texts[{at}]", f"has {count} tokens; the model takes {limit}")
        found.raise_if_any()
        await self._bench.sleep(self._declared.pace.first_token_after(sum(counts)))
        size = self._declared.embedding_size
        return [Embedded(vector(text, size), count) for text, count in zip(texts, counts, strict=True)]

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """It has no opinion of what it did not say."""
        raise Unsupported("score", self._model)

    async def close(self) -> None:
        """Nothing is held."""


def _load(settings: LoadSettings, declared: Declared, sleep: Callable[[float], object]) -> None:
    """Take the declared time, and fail half-way where that is declared."""
    failure, needed = declared.failure, declared.memory
    _check_room(settings, needed)
    for layer in range(_LAYERS + 1):
        settings.moved(
            LoadMoved(
                bytes_done=None if needed is None else needed * layer // _LAYERS,
                bytes_total=needed,
                layers_done=layer,
                layers_total=_LAYERS,
            )
        )
        if layer == _LAYERS // 2 and failure.kind == "load":
            raise FailedPrecondition(f"model {settings.model}", failure.text)
        if layer == _LAYERS // 2 and failure.kind == "memory":
            raise InsufficientMemory(settings.model, _names(settings), needed, None)
        if layer < _LAYERS:
            sleep(declared.load_s / _LAYERS)


def _check_room(settings: LoadSettings, needed: int | None) -> None:
    """Raises InsufficientMemory where the devices are declared too small."""
    sizes = [device.memory for device in settings.devices]
    known = [size for size in sizes if size is not None]
    if needed is not None and known and len(known) == len(sizes) and needed > sum(known):
        raise InsufficientMemory(settings.model, _names(settings), needed, sum(known))


def _names(settings: LoadSettings) -> str:
    return ", ".join(device.device_id for device in settings.devices) or "the host"
