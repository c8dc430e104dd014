"""A draw as the JSON that llama.cpp's server reads. Every field is set: its defaults are not neutral."""

from __future__ import annotations

from typing import Any

from orchestra_inference_node.domain.drawing import Draw

# the largest 32-bit number means "random" to it
_RANDOM_SEED = 2**32 - 1
# penalties, then the temperature, then what cuts the tail: the order that trainers' libraries use
_SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "min_p"]


def completion_request(draw: Draw, grammar: str, context_tokens: int) -> dict[str, Any]:
    """The request for one streamed sample; `grammar` is empty or what the engine reads as one."""
    room = context_tokens - len(draw.prompt_ids)
    return {
        "prompt": list(draw.prompt_ids),
        "stream": True,
        # the only form that names token ids, counts and the kind of stop
        "verbose": True,
        "return_tokens": True,
        # without it a prefill cannot be interrupted
        "return_progress": True,
        "timings_per_token": False,
        "cache_prompt": True,
        # the engine rounds a slot's context up; the declared one holds
        "n_predict": min(room, room if draw.max_tokens is None else draw.max_tokens),
        "seed": engine_seed(draw.seed),
        "samplers": _SAMPLERS,
        "temperature": draw.temperature,
        "top_k": draw.top_k,
        "top_p": draw.top_p,
        "min_p": draw.min_p,
        "min_keep": 0,
        "repeat_penalty": draw.repetition_penalty,
        "presence_penalty": draw.presence_penalty,
        "frequency_penalty": draw.frequency_penalty,
        "repeat_last_n": context_tokens,
        "typical_p": 1.0,
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "dry_multiplier": 0.0,
        "dynatemp_range": 0.0,
        "mirostat": 0,
        "ignore_eos": False,
        "logit_bias": [],
        "stop": list(draw.stop),
        "grammar": grammar,
        "n_probs": max(1, draw.top_logprobs) if draw.logprobs else 0,
        "post_sampling_probs": True,
    }


def engine_seed(seed: int) -> int:
    """A contract's 64-bit seed as the engine's 32 bits."""
    folded = seed if seed < _RANDOM_SEED else (seed ^ (seed >> 32)) % _RANDOM_SEED
    return folded
