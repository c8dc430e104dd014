"""Models that only read: a vector for each text, and nothing that nobody trained them for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import ctranslate2
import numpy as np
from tokenizers import Encoding

from orchestra_errors import Unavailable, Unsupported, Violations
from orchestra_inference_node.adapters.ctranslate2.folder import TranslatorFolder
from orchestra_inference_node.adapters.ctranslate2.loading import (
    DEFAULT_CONTEXT,
    NAME,
    build,
    loaded,
    tokenizer_of,
)
from orchestra_inference_node.adapters.encoder.batches import batches
from orchestra_inference_node.adapters.encoder.pooling import Floats, pooled, unit
from orchestra_inference_node.adapters.own_threads import in_thread
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece
from orchestra_inference_node.ports import EngineFacts, LoadSettings, Outputs

BATCH_TOKENS = 512


class ReadingEngine:
    """Embeds. It has no trained head, so that it scores nothing: a number would be invented."""

    def __init__(self, folder: TranslatorFolder, settings: LoadSettings) -> None:
        slots = settings.slots or 1
        self._model = settings.model
        self._encoder = loaded(ctranslate2.Encoder, folder, settings, slots)
        self._tokenizer = tokenizer_of(folder)
        self._pooling = settings.options.get("pooling", "mean")
        self._batch_tokens = int(settings.options.get("batch_tokens", BATCH_TOKENS))
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="reading")
        possible = folder.model.positions or DEFAULT_CONTEXT
        self._facts = EngineFacts(
            name=NAME,
            build=build(),
            context_tokens=min(possible, settings.context_tokens or possible),
            slots=slots,
            generate=False,
            embeddings=True,
        )

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        if not isinstance(prompt, str):
            raise Unsupported("chat", self._model)
        encoded = await asyncio.to_thread(self._tokenizer.encode, prompt, add_special_tokens=special)
        return tuple(encoded.ids)

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[Outputs, ...]:
        raise Unsupported("generate", self._model)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        """See the port. A cancel ends the computation behind the batch that runs."""
        enough = threading.Event()
        return await in_thread(self._threads, lambda: self._embed(texts, enough), enough.set)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        raise Unsupported("score", self._model)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._encoder.unload_model()

    def _embed(self, texts: tuple[str, ...], enough: threading.Event) -> list[Embedded]:
        """In a thread."""
        encoded = self._tokenizer.encode_batch(list(texts))
        self._refuse_long(encoded)
        vectors: dict[int, Floats] = {}
        for batch in batches([len(one.ids) for one in encoded], self._batch_tokens):
            if enough.is_set():
                break
            vectors.update(zip(batch, self._vectors([encoded[at].ids for at in batch]), strict=True))
        return [Embedded(vectors[at].tolist(), len(encoded[at].ids)) for at in sorted(vectors)]

    def _refuse_long(self, encoded: list[Encoding]) -> None:
        found = Violations()
        limit = self._facts.context_tokens
        for at, one in enumerate(encoded):
            found.require(
                len(one.ids) <= limit,
                f"texts[{at}]",
                f"has {len(one.ids)} tokens; {self._model} takes {limit}",
            )
        found.raise_if_any()

    def _vectors(self, ids: list[list[int]]) -> Floats:
        try:
            states = np.array(self._encoder.forward_batch(ids).last_hidden_state)
        except RuntimeError as error:
            raise Unavailable(f"the engine of {self._model} ({error})", retry_after=1.0) from error
        mask = np.zeros(states.shape[:2], np.int64)
        for row, one in enumerate(ids):
            mask[row, : len(one)] = 1
        vectors = unit(pooled(states, mask, self._pooling))
        if not np.isfinite(vectors).all():
            raise Unavailable(f"the engine of {self._model} (it gave a vector that is no number)", 1.0)
        return vectors
