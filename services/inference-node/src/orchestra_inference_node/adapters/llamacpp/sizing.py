"""How large a model becomes in llama.cpp: slots, context, batch, and the memory that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestra_inference_node.adapters.llamacpp.gguf import GgufFacts
from orchestra_inference_node.ports import LoadSettings

DEFAULT_SLOTS = 4
DEFAULT_CONTEXT = 4096
# a larger batch is faster on a GPU, but a prefill ends only between batches
_BATCH_ON_CPU = 128
_BATCH_ON_GPU = 512
CACHE_TYPES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of an element of the key-value cache."""

_MIB = 1024 * 1024
# measured: the interpreter, gRPC and the engine's code in a worker that serves
_PROCESS = 100 * _MIB
# measured: text, score and both look-ups of a token
_PER_TOKEN = 270
# not measured here: a CUDA context and the kernels' own buffers
_CUDA_CONTEXT = 512 * _MIB
# of every how many layers one sees the whole context; the others a window
_WINDOWED = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4}
_PADDING = 256


@dataclass(frozen=True, slots=True)
class Sizing:
    """`context` in tokens for each of the `slots`; `batch` in tokens of prefill at once."""

    slots: int
    context: int
    batch: int
    cache_type: str
    on_gpu: bool
    deterministic: bool = False
    """Nothing is computed beside something else, or found in a slot: the arithmetic of both differs in the
    last digits, and these in near ties."""

    @classmethod
    def of(cls, settings: LoadSettings, file: GgufFacts) -> Sizing:
        on_gpu = any(device.kind == "cuda" for device in settings.devices)
        trained = file.context_tokens or DEFAULT_CONTEXT
        deterministic = settings.options.get("deterministic") == "true"
        return cls(
            slots=1 if deterministic else settings.slots or DEFAULT_SLOTS,
            context=min(settings.context_tokens or DEFAULT_CONTEXT, trained),
            batch=int(settings.options.get("batch_tokens", _BATCH_ON_GPU if on_gpu else _BATCH_ON_CPU)),
            cache_type=settings.options.get("cache_type", "f16"),
            on_gpu=on_gpu,
            deterministic=deterministic,
        )


def memory_needed(settings: LoadSettings) -> int | None:
    """Bytes that loading takes on the devices; None where the file does not say what its layers are.

    Weights and cache are exact for models of plain attention, and for the windowed ones that are known by
    name; others are counted as if every layer saw the whole context. Of what small models were measured to
    hold on the CPU it is 100 to 125 %; on cards it was not measured.
    """
    file = GgufFacts.read(Path(settings.path))
    sizing = Sizing.of(settings, file)
    cache = cache_bytes(file, sizing)
    if cache is None:
        return None
    width, inner = file.number("embedding_length") or 0, file.number("feed_forward_length") or 0
    compute = 4 * sizing.batch * (6 * width + 3 * inner + sizing.context)
    outputs = 4 * sizing.slots * file.vocabulary
    rest = _CUDA_CONTEXT if sizing.on_gpu else _PROCESS + _PER_TOKEN * file.vocabulary
    return file.tensor_bytes + cache + compute + outputs + rest


def cache_bytes(file: GgufFacts, sizing: Sizing) -> int | None:
    """Bytes of the key-value cache of all slots."""
    layers, heads = file.number("block_count"), file.number("attention.head_count")
    width = file.number("embedding_length")
    if not layers or not heads or not width:
        return None
    key = file.number("attention.key_length") or width // heads
    value = file.number("attention.value_length") or width // heads
    per_layer = file.each_layer("attention.head_count_kv", layers, heads)
    window, every = file.number("attention.sliding_window") or 0, _WINDOWED.get(file.architecture, 1)
    seen = min(sizing.context, _padded(window + sizing.batch)) if window else sizing.context
    cells = sum(
        kv_heads * (seen if (layer + 1) % every else sizing.context)
        for layer, kv_heads in enumerate(per_layer)
    )
    return int(cells * sizing.slots * (key + value) * CACHE_TYPES[sizing.cache_type])


def _padded(tokens: int) -> int:
    return -(-tokens // _PADDING) * _PADDING
