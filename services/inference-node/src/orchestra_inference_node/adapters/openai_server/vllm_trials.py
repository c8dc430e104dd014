"""What one vLLM server can do, by trying it out: versions and start options differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.adapters.openai_server.completions import PATH

# --max-logprobs is 20 unless the operator says otherwise
_TOPS = (20, 10, 5, 2)
# what is not set, the server takes from the model's generation_config
_NEUTRAL = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
Draws = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Tried:
    """What short draws have shown. `logprobs_are_raw`: before temperature and the other settings."""

    generates: bool
    token_ids: bool = False
    max_top: int = 0
    logprobs_are_raw: bool = True
    scores: bool = False
    json_schema: bool = False
    seed: bool = False


def try_out(asker: Asker, name: str, ids: list[int]) -> Tried:
    """A dozen draws of a few tokens."""

    def draw(**more: Any) -> dict[str, Any]:
        request = {"model": name, "prompt": ids, "max_tokens": 1, **_NEUTRAL} | more
        choices = asker.post(PATH, request).holds.get("choices")
        return choices[0] if isinstance(choices, list) and choices else {}

    plain = draw(return_token_ids=True)
    if not isinstance(plain.get("text"), str):
        return Tried(generates=False)
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"enum": ["Z"]}}}
    given = draw(prompt_logprobs=0).get("prompt_logprobs")
    token_ids = bool(plain.get("token_ids"))
    # without ids nobody can say which tokens the logprobs are of
    tops = (top for top in _TOPS if token_ids and _spread(draw, top, 1.0) is not None)
    max_top = next(tops, 0)
    wild = {"temperature": 2.0, "seed": 7, "max_tokens": 8}
    return Tried(
        generates=True,
        token_ids=token_ids,
        max_top=max_top,
        logprobs_are_raw=not max_top or _are_raw(draw, max_top),
        scores=isinstance(given, list) and len(given) == len(ids),
        json_schema=str(draw(response_format=schema, max_tokens=8).get("text", "")).strip() == '"Z"',
        seed=draw(**wild).get("text") == draw(**wild).get("text"),
    )


def _are_raw(draw: Draws, top: int) -> bool:
    """Whether twice the temperature leaves the likeliest two as far apart as they were, or cannot be seen to
    bring them nearer."""
    cool, warm = _spread(draw, top, 1.0), _spread(draw, top, 2.0)
    return not cool or warm is None or abs(warm - cool / 2) > cool / 8


def _spread(draw: Draws, top: int, temperature: float) -> float | None:
    """Between the likeliest token and the next; None when the server gives no such logprobs."""
    said = draw(logprobs=top, temperature=temperature, seed=7, return_tokens_as_token_ids=True)
    try:
        likely: dict[str, float] = said["logprobs"]["top_logprobs"][0]
        if not all(name.startswith("token_id:") for name in likely):
            return None
    except (LookupError, TypeError, AttributeError):
        return None
    most, *less = sorted(likely.values(), reverse=True)
    return most - less[0] if less else 0.0
