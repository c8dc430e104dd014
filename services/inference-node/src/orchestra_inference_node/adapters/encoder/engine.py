"""Encoders by onnxruntime: what MiniLM, BGE, E5 and their like become when exported to ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from orchestra_errors import DataLoss, InvalidRequest, Unavailable
from orchestra_inference_node.adapters.cores import half_the_cores
from orchestra_inference_node.adapters.encoder.batches import batches
from orchestra_inference_node.adapters.encoder.embeds_alone import EmbedsAlone
from orchestra_inference_node.adapters.encoder.folder import EncoderFolder
from orchestra_inference_node.adapters.encoder.pooling import Floats, pooled, unit
from orchestra_inference_node.adapters.own_threads import in_thread
from orchestra_inference_node.domain.drawing import Embedded
from orchestra_inference_node.ports import EngineFacts, LoadSettings

DEFAULT_TOKENS = 512
# enough for short texts to ride together, and small enough for a cancel to be quick
BATCH_TOKENS = 512
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_READY_MADE = "sentence_embedding"


class EncoderEngine(EmbedsAlone):
    """Embeds; computes in threads of its own, one for each slot."""

    def __init__(self, settings: LoadSettings) -> None:
        """Raises InvalidRequest for a model that is no encoder, DataLoss for files that cannot be loaded."""
        folder = EncoderFolder.read(Path(settings.path))
        slots = settings.slots or 1
        self._pooling = settings.options.get("pooling") or folder.pooling or "mean"
        self._session = _session(folder.model, settings)
        self._inputs = _inputs(self._session)
        self._output, self._ready_made = _output(self._session)
        # a model that fits each batch into one range of integers gets one text at a time
        batch_tokens = int(settings.options.get("batch_tokens", BATCH_TOKENS))
        self._batch_tokens = 1 if folder.onnx.fits_batch else batch_tokens
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="encoder")
        facts = EngineFacts(
            name="onnxruntime",
            build=f"onnxruntime {version('onnxruntime')}",
            context_tokens=_most_tokens(folder, settings.context_tokens),
            slots=slots,
            generate=False,
            embeddings=True,
        )
        super().__init__(settings.model, _tokenizer(folder.tokenizer), facts)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        """See the port. A cancel ends the computation at the next operator of the model."""
        run = onnxruntime.RunOptions()

        def end() -> None:
            run.terminate = True

        return await in_thread(self._threads, lambda: self._embed(texts, run), end)

    async def close(self) -> None:
        """The weights are freed with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _embed(self, texts: tuple[str, ...], run: Any) -> list[Embedded]:
        """In a thread."""
        encoded = self._encode(texts)
        vectors: dict[int, Floats] = {}
        for batch in batches([len(one.ids) for one in encoded], self._batch_tokens):
            vectors.update(zip(batch, self._vectors([encoded[at] for at in batch], run), strict=True))
        return [Embedded(vectors[at].tolist(), len(one.ids)) for at, one in enumerate(encoded)]

    def _vectors(self, encoded: list[Encoding], run: Any) -> Floats:
        width = max(len(one.ids) for one in encoded)
        ids = np.zeros((len(encoded), width), np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(encoded):
            ids[row, : len(one.ids)] = one.ids
            mask[row, : len(one.ids)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: given[name].astype(kind) for name, kind in self._inputs.items()}
        try:
            (states,) = self._session.run([self._output], feed, run)
        except Exception as error:
            # the runtime has a dozen kinds of its own
            raise Unavailable(f"the engine of {self._model} ({error})", retry_after=1.0) from error
        vectors = unit(states if self._ready_made else pooled(states, mask, self._pooling))
        if not np.isfinite(vectors).all():
            raise Unavailable(f"the engine of {self._model} (it gave a vector that is no number)", 1.0)
        return vectors


def _session(model: Path, settings: LoadSettings) -> Any:
    options = onnxruntime.SessionOptions()
    threads = int(settings.options.get("threads", 0)) or settings.device_threads or half_the_cores()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # threads that spin while they wait take the cores of the host's other models
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataLoss(str(model), str(error)) from error


def _inputs(session: Any) -> Mapping[str, Any]:
    """Names of the inputs with the kind of their numbers."""
    kinds = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
    found = {one.name: kinds.get(one.type) for one in session.get_inputs()}
    odd = sorted(name for name, kind in found.items() if name not in _INPUTS or kind is None)
    if odd or "input_ids" not in found:
        raise InvalidRequest.of("spec.path", f"its model is no encoder of texts: it takes {', '.join(found)}")
    return found


def _output(session: Any) -> tuple[str, bool]:
    """Which output to read, and whether it is pooled already."""
    ranks = {one.name: len(one.shape) for one in session.get_outputs()}
    if ranks.get(_READY_MADE) == 2:
        return _READY_MADE, True
    states = [name for name, rank in ranks.items() if rank == 3]
    if states:
        return ("last_hidden_state" if "last_hidden_state" in states else states[0]), False
    raise InvalidRequest.of("spec.path", f"its model gives no states of tokens, only {', '.join(ranks)}")


def _tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # the library raises no narrower kind
        raise DataLoss(str(path), str(error)) from error
    # a text that is cut without a word has another meaning
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _most_tokens(folder: EncoderFolder, asked: int | None) -> int:
    """What was asked for, or what its makers advise; never more than the model has positions."""
    possible = folder.positions or folder.advised or DEFAULT_TOKENS
    return min(possible, asked or folder.advised or possible)
