"""Models that read a text and write another: what CodeT5 is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ctranslate2

from orchestra_errors import InvalidRequest, Unavailable, Unsupported
from orchestra_inference_node.adapters.ctranslate2.folder import TranslatorFolder
from orchestra_inference_node.adapters.ctranslate2.loading import (
    DEFAULT_CONTEXT,
    NAME,
    build,
    loaded,
    tokenizer_of,
)
from orchestra_inference_node.adapters.ctranslate2.run import Run
from orchestra_inference_node.adapters.ctranslate2.steps import Steps
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.adapters.own_threads import in_thread
from orchestra_inference_node.adapters.reads_texts import ReadsTexts
from orchestra_inference_node.domain.drawing import Draw, Embedded, Piece
from orchestra_inference_node.ports import EngineFacts, LoadSettings

DEFAULT_SLOTS = 2


class WritingEngine(ReadsTexts):
    """Generates, and scores given texts."""

    def __init__(self, folder: TranslatorFolder, settings: LoadSettings) -> None:
        slots = settings.slots or DEFAULT_SLOTS
        self._translator = loaded(ctranslate2.Translator, folder, settings, slots)
        self._vocabulary = folder.vocabulary
        self._end = folder.end
        self._end_id = folder.vocabulary.index(folder.end) if folder.end in folder.vocabulary else -1
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="writing")
        facts = EngineFacts(
            name=NAME,
            build=build(),
            context_tokens=settings.context_tokens or DEFAULT_CONTEXT,
            slots=slots,
            logprobs=True,
            max_top_logprobs=20,
            token_ids_in=True,
            token_ids_out=True,
            score=True,
            # its random numbers come from generators of its own threads, which nobody can set
            missing_sampling=("seed", "min_p", "presence_penalty", "frequency_penalty"),
        )
        super().__init__(settings.model, tokenizer_of(folder), facts)

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[Run, ...]:
        """See the port. Each draw reads the prompt for itself."""
        return tuple(self._run(draw, idle_s) for draw in draws)

    def _run(self, draw: Draw, idle_s: float) -> Run:
        def source() -> list[str]:
            self._check(draw.stop_token_ids, "sampling.stop_token_ids")
            return self._tokens(draw.prompt_ids)

        def steps(box: Mailbox) -> Steps:
            return Steps(draw, self._tokenizer, self._end_id, box)

        return Run(draw, source, self._decode, steps, self._threads, self._model, idle_s)

    def _decode(self, source: list[str], draw: Draw, steps: Steps) -> None:
        """In a thread."""
        room = self._facts.context_tokens - len(source)
        greedy = draw.temperature == 0
        self._translator.translate_batch(
            [source],
            callback=steps,
            beam_size=1,
            sampling_topk=1 if greedy else min(draw.top_k, len(self._vocabulary)),
            sampling_topp=1.0 if greedy else draw.top_p,
            sampling_temperature=1.0 if greedy else draw.temperature,
            repetition_penalty=draw.repetition_penalty,
            max_decoding_length=room if draw.max_tokens is None else min(room, draw.max_tokens),
            # an answer may be empty, and a prompt is never cut without a word
            min_decoding_length=0,
            max_input_length=0,
            return_logits_vocab=draw.logprobs,
        )

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        raise Unsupported("embeddings", self._model)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """See the port. One pass of the model, whatever the target's length."""
        if top:
            raise Unsupported("top_logprobs of a given text", self._model)
        source, target = self._tokens(prompt_ids), self._tokens(target_ids)
        values = await in_thread(self._threads, lambda: self._score(source, target), lambda: None)
        return Piece(token_ids=list(target_ids), logprobs=values[: len(target_ids)], tokens=len(target_ids))

    def _score(self, source: list[str], target: list[str]) -> list[float]:
        """In a thread. The library puts the end behind every target by itself."""
        given = target[:-1] if target[-1:] == [self._end] else target
        try:
            (scored,) = self._translator.score_batch([source], [given], max_input_length=0)
        except RuntimeError as error:
            raise Unavailable(f"the engine of {self._model} ({error})", retry_after=1.0) from error
        values: Any = scored.log_probs
        return [float(value) for value in values]

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._translator.unload_model()

    def _tokens(self, ids: Sequence[int]) -> list[str]:
        self._check(ids, "token_ids")
        return [self._vocabulary[one] for one in ids]

    def _check(self, ids: Sequence[int], field: str) -> None:
        beyond = next((one for one in ids if not 0 <= one < len(self._vocabulary)), None)
        if beyond is not None:
            raise InvalidRequest.of(field, f"{beyond} is no token of {self._model}")
