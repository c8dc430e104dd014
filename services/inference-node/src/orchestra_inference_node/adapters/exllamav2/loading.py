"""exllamav2's own objects for one model: made here, and given back here."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from exllamav2 import (
    ExLlamaV2,
    ExLlamaV2Cache,
    ExLlamaV2Cache_Q4,
    ExLlamaV2Cache_Q6,
    ExLlamaV2Cache_Q8,
    ExLlamaV2Config,
    ExLlamaV2Tokenizer,
    attn,
)
from exllamav2.generator import ExLlamaV2DynamicGenerator

from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder
from orchestra_inference_node.adapters.exllamav2.plan import STEP_TOKENS, Plan
from orchestra_inference_node.adapters.exllamav2.progress import Progress
from orchestra_inference_node.ports import EngineDevice

_CACHES = {
    "FP16": ExLlamaV2Cache,
    "Q8": ExLlamaV2Cache_Q8,
    "Q6": ExLlamaV2Cache_Q6,
    "Q4": ExLlamaV2Cache_Q4,
}
_PAGED_FROM = (8, 0)
# kept free on each device while the weights are spread, for what computing needs
_RESERVE_BYTES = 256 * 1024**2


def config_of(folder: ModelFolder, *, flash_attention: bool) -> Any:
    """Read config.json; what the model's architecture forbids is switched off."""
    config = ExLlamaV2Config(str(folder.path))
    config.no_flash_attn = config.no_flash_attn or not flash_attention
    config.arch_compat_overrides(quiet=True)
    return config


def can_page(config: Any) -> bool:
    """Whether every device, the installed flash-attn and the model have paged attention."""
    capabilities = [torch.cuda.get_device_capability(at) for at in range(torch.cuda.device_count())]
    capable = min(capabilities, default=(0, 0)) >= _PAGED_FROM
    return capable and attn.has_flash_attn_with_paged and not config.no_flash_attn


class LoadedModel:
    """A model on its devices, with caches, and of a draft model the same."""

    def __init__(self, plan: Plan, config: Any, devices: tuple[EngineDevice, ...], *, paged: bool) -> None:
        self.plan = plan
        self.paged = paged
        self._devices = devices
        self.config = self._sized(config)
        self.model: Any = None
        self.cache: Any = None
        self.draft_model: Any = None
        self.draft_cache: Any = None
        self.tokenizer: Any = None

    def load(self, progress: Progress) -> None:
        """Blocks until the weights are on the devices. Raises what exllamav2 and torch do."""
        self.model = ExLlamaV2(self.config)
        models = [self.model]
        if self.plan.draft is not None:
            config = config_of(self.plan.draft, flash_attention=not self.config.no_flash_attn)
            self.draft_model = ExLlamaV2(self._sized(config))
            models.append(self.draft_model)
        progress.expect([one.modules for one in models])
        told = [progress.of(one.modules) for one in models]
        self.cache = self._put(self.model, self.plan.cache, told[0], self.plan.gpu_split)
        if self.draft_model is not None:
            self.draft_cache = self._put(self.draft_model, self.plan.draft_cache, told[1], ())
        self.tokenizer = ExLlamaV2Tokenizer(self.config)
        # the text is found outside of the generator, which would hold an answer back for ever behind one byte
        # that makes no character; without text it hands over each token as it comes
        self.tokenizer.id_to_piece = [""] * self.tokenizer.actual_vocab_size

    def generator(self) -> Any:
        """A new generator on the loaded model, its page table empty. Raises when a device is lost."""
        gc.collect()
        if torch.cuda.is_initialized():
            for at in range(torch.cuda.device_count()):
                torch.cuda.synchronize(at)
        return ExLlamaV2DynamicGenerator(
            model=self.model,
            cache=self.cache,
            tokenizer=self.tokenizer,
            max_batch_size=self.plan.slots,
            max_seq_len=self.config.max_seq_len,
            max_chunk_size=self.plan.chunk_tokens,
            max_q_size=STEP_TOKENS,
            draft_model=self.draft_model,
            draft_cache=self.draft_cache,
            num_draft_tokens=self.plan.draft_tokens,
            use_ngram_draft=False,
            paged=self.paged,
            filter_background_eval=True,
        )

    def unload(self) -> None:
        """Give the memory back. The generator must be gone: exllamav2's own unload keeps caches."""
        for one in (self.model, self.draft_model):
            if one is not None:
                one.unload()
        self.model = self.cache = self.draft_model = self.draft_cache = self.tokenizer = None
        gc.collect()
        torch.cuda.empty_cache()

    def _sized(self, config: Any) -> Any:
        config.max_seq_len = self.plan.sequence_tokens
        config.max_input_len = self.plan.chunk_tokens
        config.max_attention_size = self.plan.chunk_tokens**2
        return config

    def _put(self, model: Any, kind: str, moved: Callable[[int, int], None], split: tuple[float, ...]) -> Any:
        """Load a model, and give its cache. `split`: GiB for each device; empty: as it fits."""
        cache_class = _CACHES[kind]
        tokens = self.plan.cache_tokens
        if split:
            model.load(gpu_split=list(split), callback=moved)
            return cache_class(model, batch_size=1, max_seq_len=tokens)
        cache = cache_class(model, batch_size=1, max_seq_len=tokens, lazy=True)
        model.load_autosplit(cache, reserve_vram=self._reserves(), callback=moved)
        return cache

    def _reserves(self) -> list[int]:
        """Bytes to leave free, by device; where a device is not ours alone, all beyond what is."""
        least = _RESERVE_BYTES if self.plan.reserve_bytes is None else self.plan.reserve_bytes
        reserves = []
        for at, device in enumerate(self._devices):
            free = torch.cuda.mem_get_info(at)[0] if device.memory is not None else 0
            reserves.append(max(least, free - (device.memory or free)))
        return reserves
