"""exllamav2: its dynamic generator, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import time
from importlib.metadata import version
from pathlib import Path

import structlog
import torch

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.exllamav2 import constraint
from orchestra_inference_node.adapters.exllamav2.chat_template import ChatTemplate
from orchestra_inference_node.adapters.exllamav2.draws import Draws
from orchestra_inference_node.adapters.exllamav2.driver import Driver
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder, chat_template
from orchestra_inference_node.adapters.exllamav2.runs import DrawStream, Group, ScoreRun
from orchestra_inference_node.adapters.exllamav2.scoring import ScoringJob
from orchestra_inference_node.adapters.exllamav2.start import load_model
from orchestra_inference_node.adapters.exllamav2.vocabulary import Vocabulary
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece, TopTokens
from orchestra_inference_node.ports import EngineFacts, LoadSettings

MOST_TOP = 20
_LOST = 70
_FAREWELL_S = 1.0
log = structlog.get_logger()


class ExLlamaV2Engine:
    """Loads in the constructor. For a process of its own: a CUDA error that does not pass ends it."""

    def __init__(self, settings: LoadSettings) -> None:
        """Raises InvalidRequest, FailedPrecondition, InsufficientMemory, DataLoss; what torch raises."""
        folder = ModelFolder(Path(settings.path))
        self._model = settings.model
        self._loaded = load_model(settings, folder)
        plan = self._loaded.plan
        tokenizer = self._loaded.tokenizer.tokenizer_model.hf_tokenizer
        self._vocabulary = Vocabulary(tokenizer, folder, self._loaded.config.vocab_size)
        source = chat_template(folder) if settings.chat else ""
        self._template = ChatTemplate(source, self._vocabulary.special) if source else None
        constraints = constraint.Constraints(self._vocabulary) if constraint.installed() else None
        self._facts = EngineFacts(
            name="exllamav2",
            build=_build(paged=self._loaded.paged),
            context_tokens=plan.context_tokens,
            slots=plan.slots,
            chat=self._template is not None,
            logprobs=True,
            max_top_logprobs=MOST_TOP,
            prompt_logprobs=True,
            json_schema=constraints is not None,
            grammar=constraints is not None,
            token_ids_in=True,
            token_ids_out=True,
            # its kernels add up in whatever order they end in: last digits differ, and with them near ties
            deterministic_seed=False,
            score=True,
        )
        self._draws = Draws(self._loaded, self._vocabulary, constraints, plan.context_tokens)
        self._driver = Driver(settings.model, self._loaded.generator, _end_process)

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        """The names of special tokens in a text are read as those. A template says itself what begins a
        prompt."""
        return await asyncio.to_thread(self._tokenize, prompt, special)

    def _tokenize(self, prompt: tuple[ChatMessage, ...] | str, special: bool) -> tuple[int, ...]:
        if isinstance(prompt, str):
            return self._vocabulary.encode(prompt, special=special)
        if self._template is None:
            raise Unsupported("chat", self._model)
        return self._vocabulary.encode(self._template.render(prompt), special=False)

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[DrawStream, ...]:
        """See the port. Draws share the pages of their prompt, also with draws that come later."""
        return Group(draws, self._driver, self._draws.runs, self._prompt_logprobs).streams(idle_s)

    async def _prompt_logprobs(self, draw: Draw) -> Piece:
        first = draw.prompt_ids[0]
        top = draw.prompt_logprobs or 0
        scored = Piece()
        if len(draw.prompt_ids) > 1:
            scored = await self.score(draw.prompt_ids[:1], draw.prompt_ids[1:], top)
        whole = Piece(token_ids=[first], logprobs=[0.0], top=[TopTokens((), (), ())] if top else [], tokens=1)
        whole.append(scored)
        return whole

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """See the port. The whole text goes through the model once, a page of tokens at a time."""
        ids = (*prompt_ids, *target_ids)
        self._vocabulary.check(ids, "token_ids")
        if not prompt_ids:
            raise InvalidRequest.of("token_ids", "a target needs at least one token in front of it")
        if len(ids) > self._facts.context_tokens:
            raise InvalidRequest.of(
                "token_ids",
                f"prompt and target have {len(ids)} tokens, the context {self._facts.context_tokens}",
            )
        if not target_ids:
            return Piece()
        run = ScoreRun(lambda: ScoringJob(ids, len(prompt_ids), top), self._vocabulary.text_of)
        self._driver.begin(run)
        try:
            while True:
                said = await run.box.get(60.0)
                if isinstance(said, Exception):
                    raise said
                if isinstance(said, Piece):
                    return said
        finally:
            await asyncio.shield(asyncio.wrap_future(self._driver.cancel(run)))

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        raise Unsupported("embeddings", self._model)

    async def close(self) -> None:
        """End what runs, then give the devices' memory back."""
        await asyncio.to_thread(self._driver.close)
        await asyncio.to_thread(self._loaded.unload)


def _build(*, paged: bool) -> str:
    how = "paged attention" if paged else "one slot, without paged attention"
    return f"exllamav2 {version('exllamav2')}, torch {torch.__version__}, {how}"


def _end_process() -> None:
    """The node starts another one. What runs has been told, and gets a moment to tell its callers."""
    log.error("the devices cannot be used any more, the process ends")
    time.sleep(_FAREWELL_S)
    os._exit(_LOST)
