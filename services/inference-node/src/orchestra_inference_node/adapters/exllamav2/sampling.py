"""A draw as exllamav2's settings. Every field is set: its defaults are not neutral, and its constructors take
names that they do not know without a word."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

from orchestra_inference_node.domain.drawing import Draw

# at 1 the engine would not look at it
_MOST_MIN_P = 1 - 2**-24


def sampler_settings(draw: Draw) -> dict[str, Any]:
    """Of `ExLlamaV2Sampler.Settings`. The engine's order: penalties over prompt and answer, the temperature,
    top_k, top_p, min_p. It keeps state in them: one for each job."""
    return {
        "token_repetition_penalty": draw.repetition_penalty,
        "token_repetition_range": -1,
        "token_repetition_decay": 0,
        "token_frequency_penalty": draw.frequency_penalty,
        "token_presence_penalty": draw.presence_penalty,
        "temperature": draw.temperature,
        "smoothing_factor": 0.0,
        "min_temp": 0.0,
        "max_temp": 0.0,
        "temp_exponent": 1.0,
        "top_k": draw.top_k,
        "top_p": draw.top_p,
        "top_a": 0.0,
        "min_p": min(draw.min_p, _MOST_MIN_P),
        "tfs": 0.0,
        "typical": 0.0,
        "skew": 0.0,
        "temperature_last": False,
        "mirostat": False,
        "mirostat_tau": 1.5,
        "mirostat_eta": 0.1,
        "mirostat_mu": None,
        "token_bias": None,
        "cfg_scale": None,
        "post_sampling_hooks": [],
        "dry_allowed_length": 2,
        "dry_base": 1.75,
        "dry_multiplier": 0.0,
        "dry_sequence_breakers": None,
        "dry_range": 0,
        "dry_max_ngram": 20,
        "ngram_trie": None,
        "ngram_index": 0,
        "ngram_history": deque(),
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "xtc_ignore_tokens": None,
    }


def job_settings(draw: Draw, limit: int, ends: Collection[int], draft_tokens: int) -> dict[str, Any]:
    """Of `ExLlamaV2DynamicJob`, beside its ids, sampler settings and filters: `limit` tokens of answer, ended
    by any of the tokens `ends`. Stop texts and the text are found outside of it."""
    return {
        # it ends that much too early
        "max_new_tokens": limit + draft_tokens,
        "min_new_tokens": 0,
        "max_skips": 4,
        "seed": draw.seed,
        "stop_conditions": sorted(ends),
        "decode_special_tokens": False,
        "return_top_tokens": draw.top_logprobs if draw.logprobs else 0,
        "return_logits": False,
        "return_probs": draw.logprobs,
        "filter_prefer_eos": False,
        "token_healing": False,
        "banned_strings": None,
        "embeddings": None,
    }


def answer_limit(draw: Draw, context_tokens: int) -> int:
    """How many tokens the answer may have."""
    room = context_tokens - len(draw.prompt_ids)
    return room if draw.max_tokens is None else min(room, draw.max_tokens)
