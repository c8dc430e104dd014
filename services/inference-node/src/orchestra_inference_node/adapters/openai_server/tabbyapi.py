"""TabbyAPI: it takes texts alone, so a prompt's tokens must be what it would read in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from orchestra_errors import InvalidRequest, NotFound, Unavailable, Unsupported
from orchestra_inference_node.adapters.exchanges import HttpFailed
from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.adapters.openai_server.completions import PATH, CompletionReader, parsed_schema
from orchestra_inference_node.adapters.openai_server.entry import TABBYAPI
from orchestra_inference_node.adapters.openai_server.failures import RETRY_LATER_S
from orchestra_inference_node.adapters.openai_server.found import (
    Found,
    context_of,
    count,
    must_be_of_use,
    must_tokenize,
)
from orchestra_inference_node.adapters.openai_server.http import ServerHttp
from orchestra_inference_node.adapters.runs import Reader, RunStream, each_alone
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece
from orchestra_inference_node.ports import EngineFacts, LoadSettings

STREAM_PATH = PATH
_ENCODE, _DECODE = "/v1/token/encode", "/v1/token/decode"
_AS_IT_STANDS = {"add_bos_token": False, "encode_special_tokens": True, "decode_special_tokens": True}
_SAID = ("max_seq_len", "cache_mode", "rope_scale", "rope_alpha", "prompt_template")


def look(asker: Asker, models: list[dict[str, Any]]) -> Found | None:
    """None when the server is none of these. It lists every model of its folder and has one loaded."""
    answer = asker.get("/v1/model")
    if answer.status == httpx.codes.SERVICE_UNAVAILABLE:
        raise Unavailable(f"{asker.site.shown} ({answer.message})", RETRY_LATER_S)
    card = answer.holds
    parameters = card.get("parameters")
    if not isinstance(parameters, dict) or not isinstance(card.get("id"), str):
        return None
    name = card["id"]
    if asker.site.model not in ("", name):
        raise NotFound(f"model of {asker.site.shown}", asker.site.model, [name])
    length = count(parameters.get("max_seq_len"))
    return Found(
        kind=TABBYAPI,
        name=name,
        said={"id": name} | {key: parameters.get(key) for key in _SAID},
        # one of them it keeps for itself
        context_tokens=length - 1 if length else None,
        slots=count(parameters.get("max_batch_size")),
    )


def engine(settings: LoadSettings, found: Found, asker: Asker, http: ServerHttp) -> TabbyEngine:
    """Raises FailedPrecondition when the server cannot tokenize or does not complete."""
    must_tokenize(asker, _ENCODE, {"text": "Hello"})
    draw = {"prompt": "Hello", "max_tokens": 8, "temperature": 0.0}
    must_be_of_use(asker, generates=_text(asker, draw) is not None, embeds=False)
    slots = found.slots or settings.slots or 1
    facts = EngineFacts(
        name="TabbyAPI",
        build=found.build,
        context_tokens=context_of(asker, found, settings.context_tokens),
        slots=min(settings.slots or slots, slots),
        json_schema=(_text(asker, draw | {"json_schema": {"enum": ["Z"]}}) or "").strip() == '"Z"',
        # it has no seed, and does not tell a stop token from the end of the answer
        missing_sampling=("seed", "stop_token_ids"),
    )
    return TabbyEngine(settings.model, facts, http)


def _text(asker: Asker, request: dict[str, Any]) -> str | None:
    choices = asker.post(PATH, request).holds.get("choices")
    text = choices[0].get("text") if isinstance(choices, list) and choices else None
    return text if isinstance(text, str) else None


@dataclass(frozen=True, slots=True)
class TabbyEngine:
    """The model that a TabbyAPI has loaded."""

    model: str
    facts: EngineFacts
    http: ServerHttp

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        if not isinstance(prompt, str):
            # its tokens of a chat leave out what opens the answer
            raise Unsupported("chat", self.model)
        return await self._encode(prompt, {"add_bos_token": special})

    async def _encode(self, text: str, more: dict[str, bool]) -> tuple[int, ...]:
        try:
            answer = await self.http.post(_ENCODE, {"text": text} | _AS_IT_STANDS | more)
        except HttpFailed as error:
            raise InvalidRequest.of("text", f"the server refuses it: {error}") from error
        return tuple(answer["tokens"])

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[RunStream, ...]:
        return each_alone(draws, idle_s, self.model, self.http, self._prepare, self._prompt_logprobs)

    async def _prepare(self, draw: Draw) -> tuple[dict[str, Any], Reader]:
        answer = await self.http.post(_DECODE, {"tokens": list(draw.prompt_ids)} | _AS_IT_STANDS)
        text = str(answer["text"])
        if await self._encode(text, {}) != draw.prompt_ids:
            raise InvalidRequest.of("text", "the server would read other tokens in it than it counted")
        return self._request(draw, text), CompletionReader(draw, self.model)

    def _request(self, draw: Draw, text: str) -> dict[str, Any]:
        room = self.facts.context_tokens - len(draw.prompt_ids)
        request: dict[str, Any] = {
            "prompt": text,
            "add_bos_token": False,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": min(room, room if draw.max_tokens is None else draw.max_tokens),
            "temperature": draw.temperature,
            "temperature_last": False,
            "top_p": draw.top_p,
            "top_k": draw.top_k,
            "min_p": draw.min_p,
            "repetition_penalty": draw.repetition_penalty,
            "presence_penalty": draw.presence_penalty,
            "frequency_penalty": draw.frequency_penalty,
            "penalty_range": -1,
            "stop": list(draw.stop),
        }
        if draw.json_schema is not None:
            request["json_schema"] = parsed_schema(draw.json_schema)
        return request

    async def _prompt_logprobs(self, draw: Draw) -> Piece:
        raise Unsupported("prompt_logprobs", self.model)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        raise Unsupported("score", self.model)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        raise Unsupported("embeddings", self.model)

    async def close(self) -> None:
        await self.http.close()
