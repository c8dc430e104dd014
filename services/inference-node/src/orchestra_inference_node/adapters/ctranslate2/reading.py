"""Models that only read: a vector for each text, and nothing that nobody trained them for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import ctranslate2
import numpy as np

from orchestra_errors import Unavailable
from orchestra_inference_node.adapters.ctranslate2.folder import TranslatorFolder
from orchestra_inference_node.adapters.ctranslate2.loading import (
    DEFAULT_CONTEXT,
    NAME,
    build,
    loaded,
    tokenizer_of,
)
from orchestra_inference_node.adapters.encoder.batches import batches
from orchestra_inference_node.adapters.encoder.embeds_alone import EmbedsAlone
from orchestra_inference_node.adapters.encoder.pooling import Floats, pooled, unit
from orchestra_inference_node.adapters.own_threads import in_thread
from orchestra_inference_node.domain.drawing import Embedded
from orchestra_inference_node.ports import EngineFacts, LoadSettings

BATCH_TOKENS = 512


class ReadingEngine(EmbedsAlone):
    """Embeds. It has no trained head, so that it scores nothing: a number would be invented."""

    def __init__(self, folder: TranslatorFolder, settings: LoadSettings) -> None:
        slots = settings.slots or 1
        self._encoder = loaded(ctranslate2.Encoder, folder, settings, slots)
        self._pooling = settings.options.get("pooling", "mean")
        self._batch_tokens = int(settings.options.get("batch_tokens", BATCH_TOKENS))
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="reading")
        possible = folder.model.positions or DEFAULT_CONTEXT
        facts = EngineFacts(
            name=NAME,
            build=build(),
            context_tokens=min(possible, settings.context_tokens or possible),
            slots=slots,
            generate=False,
            embeddings=True,
        )
        super().__init__(settings.model, tokenizer_of(folder), facts)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        """See the port. A cancel ends the computation behind the batch that runs."""
        enough = threading.Event()
        return await in_thread(self._threads, lambda: self._embed(texts, enough), enough.set)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._encoder.unload_model()

    def _embed(self, texts: tuple[str, ...], enough: threading.Event) -> list[Embedded]:
        """In a thread."""
        encoded = self._encode(texts)
        vectors: dict[int, Floats] = {}
        for batch in batches([len(one.ids) for one in encoded], self._batch_tokens):
            if enough.is_set():
                break
            vectors.update(zip(batch, self._vectors([encoded[at].ids for at in batch]), strict=True))
        return [Embedded(vectors[at].tolist(), len(encoded[at].ids)) for at in sorted(vectors)]

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
