"""A draw as the JSON that llama.cpp's server reads. Every field is set: its defaults are not neutral."""

from __future__ import annotations

from typing import Any

from orchestra_inference_node.domain.drawing import Draw

# penalties, then the temperature, then what cuts the tail: the order that trainers' libraries use
_SAMPLERS = ["penalties", "temperature", "top_k", "top_p", "min_p"]
# the most likely token alone: the same choice without a pass of every sampler over the whole vocabulary
_GREEDY = {"samplers": ["penalties", "top_k"], "top_k": 1}
# a character has at most four, and the engine says nothing of tokens after which it is not whole
_TO_END_A_CHARACTER = 8
COMPARED_BIAS = 25.0


def completion_request(
    draw: Draw, constraint: dict[str, Any], context_tokens: int, *, spelled: bool = True
) -> dict[str, Any]:
    """The request for one streamed sample; `constraint` is empty, a `grammar` or a `json_schema`. `spelled`:
    what tokens stand for is known."""
    room = context_tokens - len(draw.prompt_ids)
    more = _TO_END_A_CHARACTER if spelled and (draw.token_ids or draw.logprobs) else 0
    request: dict[str, Any] = {
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
        "n_predict": min(room, room if draw.max_tokens is None else draw.max_tokens + more),
        "seed": draw.seed,
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
        "n_probs": max(1, draw.top_logprobs) if draw.logprobs else 0,
        "post_sampling_probs": True,
        **constraint,
    }
    return request | _GREEDY if draw.temperature == 0 else request


def forks(draws: tuple[Draw, ...]) -> bool:
    """Whether the engine can draw them as forks of one computed prompt.

    It counts the forks' seeds up by itself, and cannot end one of them at a token of ours.
    """
    first = draws[0]
    counted = all(draw.seed == first.seed + at for at, draw in enumerate(draws))
    return len(draws) > 1 and counted and not first.stop_token_ids


def scoring_request(prompt: tuple[int, ...], target: tuple[int, ...], top: int) -> dict[str, Any]:
    """A request that draws exactly the target and tells the model's own logprobs.

    It fails at a token that ends an answer: no grammar can ask for one.
    """
    literals = " ".join(f"<[{token}]>" for token in target)
    return _scoring(prompt, top) | {"grammar": f"root ::= {literals}", "n_predict": len(target)}


def forcing_request(prompt: tuple[int, ...], token: int, top: int) -> dict[str, Any]:
    """A request that draws the one token whatever it is, and tells the model's own logprob of it."""
    return _scoring(prompt, top) | {"logit_bias": [[token, 1e4]], "n_predict": 1}


def comparing_request(prompt: tuple[int, ...], drawn: int, other: int) -> dict[str, Any]:
    """A request that draws the one token, and tells how likely it and the other are beside each other;
    `drawn` is made more likely by e to COMPARED_BIAS, so that it is surely the one."""
    beyond_all = 200.0
    return _scoring(prompt, 2) | {
        "logit_bias": [[drawn, beyond_all + COMPARED_BIAS], [other, beyond_all]],
        "n_predict": 1,
        "post_sampling_probs": True,
    }


def _scoring(prompt: tuple[int, ...], top: int) -> dict[str, Any]:
    return {
        "prompt": list(prompt),
        "stream": True,
        "verbose": True,
        "return_tokens": True,
        "return_progress": True,
        "cache_prompt": True,
        "samplers": ["temperature"],
        "temperature": 1.0,
        "seed": 0,
        "n_probs": max(1, top),
        # before the grammar or the bias, which only force the choice
        "post_sampling_probs": False,
    }
