"""What stands for the arithmetic of a model's layers.

Weights load for real. Instead of keys and values, an attention layer stores the ids of its tokens in the
engine's own cache, wherever the engine's page table says, and the next token follows from what is read back
from there: pages that are mixed up, shared wrongly or overwritten change the text.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import exllamav2.device
import exllamav2.model
import exllamav2.module
import numpy as np
import torch
from exllamav2.attn import ExLlamaV2Attention
from exllamav2.embedding import ExLlamaV2Embedding
from exllamav2.linear import ExLlamaV2Linear
from exllamav2.mlp import ExLlamaV2MLP
from exllamav2.rmsnorm import ExLlamaV2RMSNorm

from scripted_exllamav2 import cards
from scripted_exllamav2.language import Language

LAYERS = (ExLlamaV2Attention, ExLlamaV2MLP, ExLlamaV2RMSNorm, ExLlamaV2Linear)
_SECONDS_A_FORWARD = float(os.environ.get("SCRIPTED_FORWARD_S", 0))
_SECONDS_A_TOKEN = float(os.environ.get("SCRIPTED_TOKEN_S", 0))

before_forward: list[Callable[[int, int], None]] = []
"""Called with batch and tokens in the engine's thread before anything is computed; tests hold or fail it
here."""


def embed(self: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """The ids themselves. Every forward begins here."""
    batch, tokens = hidden_states.shape
    for told in before_forward:
        told(batch, tokens)
    time.sleep(_SECONDS_A_FORWARD + _SECONDS_A_TOKEN * tokens)
    return hidden_states.unsqueeze(-1)


def attend(
    self: Any, hidden_states: torch.Tensor, cache: Any = None, attn_params: Any = None, *_: Any, **__: Any
) -> torch.Tensor:
    """Stores the tokens where the engine says, and leaves what each sequence then is for the head."""
    rows = hidden_states.squeeze(-1)
    contexts = [
        _through_cache(self, ids, row, cache, attn_params) if cache is not None else ids.numpy()
        for row, ids in enumerate(rows)
    ]
    if self.layer_idx == self.model.config.num_hidden_layers - 1:
        self.model.scripted_contexts = contexts
        _language(self.model).see(contexts)
    return hidden_states


def _through_cache(layer: Any, ids: torch.Tensor, row: int, cache: Any, params: Any) -> np.ndarray[Any, Any]:
    """Every token of the sequence so far, as the cache has it."""
    if params.paged:
        past = int(params.cache_seqlens[row])
        positions = torch.arange(past + len(ids))
        pages = params.block_index[row].long()
        slots = pages[positions // params.page_size] * params.page_size + positions % params.page_size
        row = 0
    else:
        past = params.past_len
        slots = torch.arange(past + len(ids))
    parts = (ids % 256, ids // 256)
    stores = (cache.key_states[layer.layer_idx], cache.value_states[layer.layer_idx])
    views = [store[row].view(torch.uint8).view(store.shape[1], -1)[:, 0] for store in stores]
    for view, part in zip(views, parts, strict=True):
        view[slots[past:]] = part.to(torch.uint8)
    low, high = (view[slots].numpy().astype(np.int64) for view in views)
    seen: np.ndarray[Any, Any] = low + 256 * high
    return seen


def head(self: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """Logits for the last positions of each sequence, as many as the hidden state has."""
    wanted = hidden_states.shape[-2]
    language = _language(self.model)
    rows = [
        [language.logits(context[: len(context) - wanted + 1 + at]) for at in range(wanted)]
        for context in self.model.scripted_contexts
    ]
    logits = torch.from_numpy(np.array(rows, np.float32)).half()
    return torch.nn.functional.pad(logits, (0, self.padding))


def _language(model: Any) -> Language:
    if not hasattr(model, "scripted_language"):
        model.scripted_language = Language.of(model.config.model_dir, model.config.vocab_size)
    found: Language = model.scripted_language
    return found


def _same(self: Any, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return hidden_states


def _on_a_card(kind: type) -> None:
    """Loading takes its bytes of the card that the engine chose, and unloading gives them back."""
    load, unload = kind.load, kind.unload  # type: ignore[attr-defined]

    def loading(self: Any, *args: Any, **settings: Any) -> Any:
        if self in self.model.modules:
            size = self.weight_footprint()
            cards.take(self.device_idx, size)
            self.scripted_bytes = (self.device_idx, size)
        return load(self, *args, **settings)

    def unloading(self: Any) -> Any:
        cards.give_back(*self.__dict__.pop("scripted_bytes", (0, 0)))
        return unload(self)

    kind.load, kind.unload = loading, unloading  # type: ignore[attr-defined]


def _card_context(self: Any, model: Any, device_idx: int, scratch_bytes: int, archparams: Any = None) -> None:
    """What the engine keeps of a card, without the CUDA stream."""
    self.model, self.device_idx, self.ready, self.scratch = model, device_idx, False, None


def put_in() -> None:
    """Into the classes of the engine, for this process."""
    for module in (exllamav2.model, exllamav2.module, exllamav2.device):
        module._torch_device = lambda _: "cpu"
    exllamav2.model.safe_move_tensor = lambda tensor, *_, **__: tensor
    exllamav2.device.ExLlamaV2DeviceContext.__init__ = _card_context
    for kind in LAYERS:
        _on_a_card(kind)
    ExLlamaV2Embedding.forward = embed
    ExLlamaV2Attention.forward = attend
    ExLlamaV2MLP.forward = ExLlamaV2RMSNorm.forward = _same
    ExLlamaV2Linear.forward = head
