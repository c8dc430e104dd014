"""A draw as the JSON that vLLM reads, and given tokens as it tells them. Pure: values in, values out."""

from __future__ import annotations

from typing import Any

from orchestra_inference_node.adapters.openai_server.completions import parsed_schema
from orchestra_inference_node.domain.drawing import Draw, Piece, TopTokens


def completion_request(draw: Draw, name: str, context_tokens: int) -> dict[str, Any]:
    """The request for one streamed sample; `name` is the server's of the model. Raises InvalidRequest."""
    room = context_tokens - len(draw.prompt_ids)
    request: dict[str, Any] = {
        "model": name,
        "prompt": list(draw.prompt_ids),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": min(room, room if draw.max_tokens is None else draw.max_tokens),
        "seed": draw.seed,
        # what is not set, the server takes from the model's generation_config
        "temperature": draw.temperature,
        "top_p": draw.top_p,
        # 0 means off to new ones only
        "top_k": draw.top_k or -1,
        "min_p": draw.min_p,
        "repetition_penalty": draw.repetition_penalty,
        "presence_penalty": draw.presence_penalty,
        "frequency_penalty": draw.frequency_penalty,
        "stop": list(draw.stop),
        "stop_token_ids": list(draw.stop_token_ids),
        "return_token_ids": True,
    }
    if draw.logprobs:
        request |= {"logprobs": max(1, draw.top_logprobs), "return_tokens_as_token_ids": True}
    if draw.json_schema is not None:
        named = {"name": "answer", "schema": parsed_schema(draw.json_schema)}
        request["response_format"] = {"type": "json_schema", "json_schema": named}
    return request


def given_logprobs(ids: tuple[int, ...], said: list[dict[str, Any] | None], top: int) -> Piece:
    """Of each token its own logprob, and the likeliest; of the first nothing is known: 0."""
    piece = Piece("", list(ids), tokens=len(ids))
    for token, entry in zip(ids, said, strict=True):
        piece.logprobs.append(0.0 if entry is None else float(entry[str(token)]["logprob"]))
        if top:
            likely = sorted((entry or {}).items(), key=lambda one: -one[1]["logprob"])[:top]
            piece.top.append(
                TopTokens(
                    tuple(int(name) for name, _ in likely),
                    tuple(float(one["logprob"]) for _, one in likely),
                    tuple(str(one.get("decoded_token") or "") for _, one in likely),
                )
            )
    return piece


def is_neutral(draw: Draw) -> bool:
    """Whether no setting changes the model's own probabilities."""
    plain = Draw(draw.prompt_ids, draw.seed)
    return draw.json_schema is None and all(
        getattr(draw, name) == getattr(plain, name)
        for name in (
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
        )
    )
