"""From settings to a loaded model: what is decided before, and what is said when it does not fit."""

from __future__ import annotations

import torch
from exllamav2 import attn

from orchestra_errors import FailedPrecondition, InsufficientMemory, InvalidRequest
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder
from orchestra_inference_node.adapters.exllamav2.loading import LoadedModel, can_page, config_of
from orchestra_inference_node.adapters.exllamav2.memory import needed
from orchestra_inference_node.adapters.exllamav2.plan import Plan
from orchestra_inference_node.adapters.exllamav2.progress import Progress
from orchestra_inference_node.ports import LoadSettings


def load_model(settings: LoadSettings, folder: ModelFolder) -> LoadedModel:
    """Blocks until it is loaded. Raises InvalidRequest, FailedPrecondition, InsufficientMemory, and what
    exllamav2 and torch raise."""
    if not settings.devices or any(device.kind != "cuda" for device in settings.devices):
        raise FailedPrecondition(f"model {settings.model}", "exllamav2 computes on CUDA devices alone")
    asked = settings.options
    config = config_of(folder, flash_attention=asked.get("flash_attention", "true") == "true")
    named = asked.get("paged", "auto")
    paged = can_page(config) if named == "auto" else named == "true"
    if paged and not attn.has_flash_attn_with_paged:
        raise FailedPrecondition(f"model {settings.model}", "paged attention needs flash-attn 2.5.7 or later")
    plan = Plan.of(settings, folder, paged=paged)
    if plan.gpu_split and len(plan.gpu_split) != len(settings.devices):
        raise InvalidRequest.of(
            "spec.engine_options['gpu_split']",
            f"has {len(plan.gpu_split)} numbers for {len(settings.devices)} devices",
        )
    loaded = LoadedModel(plan, config, settings.devices, paged=paged)
    try:
        loaded.load(Progress(settings.moved))
        _check_draft(loaded)
    except Exception as error:
        loaded.unload()
        if not _out_of_memory(error):
            raise
        devices = ", ".join(device.device_id for device in settings.devices)
        raise InsufficientMemory(settings.model, devices, needed(settings), _free(settings)) from error
    return loaded


def _check_draft(loaded: LoadedModel) -> None:
    """What it drafts must be tokens of the model, and it must know all of them."""
    if loaded.draft_model is None:
        return
    draft, drawn = loaded.draft_model.config.vocab_size, loaded.config.vocab_size
    if not loaded.tokenizer.actual_vocab_size <= draft <= drawn:
        raise InvalidRequest.of(
            "spec.engine_options['draft_model']",
            f"it has {draft} tokens, the model {drawn}: another vocabulary",
        )


def _out_of_memory(error: Exception) -> bool:
    said = str(error)
    told = ("Insufficient VRAM", "Insufficient space in device allocation", "CUDA out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(one in said for one in told)


def _free(settings: LoadSettings) -> int | None:
    if not torch.cuda.is_available():
        return None
    free: list[int] = [torch.cuda.mem_get_info(at)[0] for at in range(len(settings.devices))]
    return sum(free)
