"""Bytes that loading a model takes, from its files alone."""

from __future__ import annotations

from pathlib import Path

from orchestra_errors import DataLoss
from orchestra_inference_node.adapters.exllamav2.folder import ModelFolder
from orchestra_inference_node.adapters.exllamav2.plan import Plan
from orchestra_inference_node.ports import LoadSettings

# of one number of the cache, with the half that scales 32 of them
_KEYS = {"FP16": 2.0, "Q8": 1 + 1 / 16, "Q6": 1 + 1 / 16, "Q4": 0.5 + 1 / 16}
_VALUES = _KEYS | {"Q6": 0.5 + 1 / 16}


def needed(settings: LoadSettings) -> int | None:
    """Weights, and the cache of all slots; of a draft model, too. What computing needs besides is not in it.
    None where config.json does not name the sizes."""
    paged = settings.options.get("paged") != "false"
    plan = Plan.of(settings, ModelFolder(Path(settings.path)), paged=paged)
    try:
        total = _weights(plan.model) + _cache(plan.model, plan.cache, plan.cache_tokens)
        if plan.draft is not None:
            total += _weights(plan.draft) + _cache(plan.draft, plan.draft_cache, plan.cache_tokens)
    except DataLoss:
        return None
    return total


def _weights(model: ModelFolder) -> int:
    return sum(shard.stat().st_size for shard in model.shards)


def _cache(model: ModelFolder, kind: str, tokens: int) -> int:
    heads = model.count("num_attention_heads", "n_heads", "n_head")
    width = model.count("head_dim", default=model.count("hidden_size", "d_model", "n_embd") // heads)
    numbers = (
        model.count("num_hidden_layers", "n_layers", "n_layer")
        * model.count("num_key_value_heads", default=heads)
        * width
    )
    return int(tokens * numbers * (_KEYS[kind] + _VALUES[kind]))
