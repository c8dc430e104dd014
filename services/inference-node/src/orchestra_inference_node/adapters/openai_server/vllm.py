"""vLLM: /tokenize, and token ids both ways in /v1/completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestra_errors import FailedPrecondition, InvalidRequest, Unsupported
from orchestra_inference_node.adapters.exchanges import HttpFailed
from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.adapters.openai_server.completions import PATH, CompletionReader
from orchestra_inference_node.adapters.openai_server.embedding import embed, embeds
from orchestra_inference_node.adapters.openai_server.entry import VLLM
from orchestra_inference_node.adapters.openai_server.found import Found, count, ids_of, the_model
from orchestra_inference_node.adapters.openai_server.http import ServerHttp
from orchestra_inference_node.adapters.openai_server.vllm_trials import Tried, try_out
from orchestra_inference_node.adapters.runs import Reader, Run, RunStream
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece, TopTokens
from orchestra_inference_node.ports import EngineFacts, LoadSettings

STREAM_PATH = PATH
# it does not say how many requests it takes at once; it queues what is more
_SLOTS = 16
_SAID = ("id", "root", "parent", "max_model_len", "owned_by")


def look(asker: Asker, models: list[dict[str, Any]]) -> Found | None:
    """None when the server is none of these."""
    version = asker.get("/version").holds.get("version")
    if not isinstance(version, str):
        return None
    one = the_model(asker, models)
    name = str(one["id"])
    turns = [{"role": "user", "content": "Hello"}]
    return Found(
        kind=VLLM,
        name=name,
        said={key: one.get(key) for key in _SAID},
        context_tokens=count(one.get("max_model_len")),
        chat=ids_of(asker.post("/tokenize", {"model": name, "messages": turns})) is not None,
        build=version,
    )


def engine(settings: LoadSettings, found: Found, asker: Asker, http: ServerHttp) -> VllmEngine:
    """Raises FailedPrecondition when the server cannot tokenize, or neither generates nor embeds."""
    ids = ids_of(asker.post("/tokenize", {"model": found.name, "prompt": "Hello"}))
    if not ids:
        raise FailedPrecondition(asker.site.shown, "has no /tokenize, and prompts are counted in its tokens")
    tried = try_out(asker, found.name, ids)
    embeddings = embeds(asker, found.name)
    if not tried.generates and not embeddings:
        raise FailedPrecondition(asker.site.shown, "neither completes a prompt nor embeds a text")
    context = found.context_tokens or settings.context_tokens
    if context is None:
        raise FailedPrecondition(asker.site.shown, "does not say its context: name context_tokens")
    facts = EngineFacts(
        name="vLLM",
        build=found.build,
        context_tokens=min(context, settings.context_tokens or context),
        slots=settings.slots or _SLOTS,
        generate=tried.generates,
        chat=settings.chat and found.chat and tried.generates,
        logprobs=tried.max_top > 0,
        max_top_logprobs=tried.max_top,
        prompt_logprobs=tried.scores,
        json_schema=tried.json_schema,
        token_ids_in=tried.generates,
        token_ids_out=tried.token_ids,
        deterministic_seed=tried.seed,
        embeddings=embeddings,
        score=tried.scores,
    )
    return VllmEngine(settings.model, found.name, facts, tried, http)


@dataclass(frozen=True, slots=True)
class VllmEngine:
    """One model of a vLLM server."""

    model: str
    name: str
    facts: EngineFacts
    tried: Tried
    http: ServerHttp

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        if isinstance(prompt, str):
            asked: dict[str, Any] = {"prompt": prompt, "add_special_tokens": special}
        else:
            turns = [
                {"role": turn.role, "content": turn.text} | ({"name": turn.name} if turn.name else {})
                for turn in prompt
            ]
            asked = {"messages": turns, "add_generation_prompt": True, "add_special_tokens": False}
        try:
            answer = await self.http.post("/tokenize", {"model": self.name, **asked})
        except HttpFailed as error:
            field = "text" if isinstance(prompt, str) else "chat.messages"
            raise InvalidRequest.of(field, f"the server refuses it: {error}") from error
        return tuple(answer["tokens"])

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[RunStream, ...]:
        """See the port. The server itself finds a prompt that another draw has computed."""
        runs = [Run((draw,), self.model, self.http, self._prepare, self._prompt_logprobs) for draw in draws]
        return tuple(stream for run in runs for stream in run.streams(idle_s))

    async def _prepare(self, draws: tuple[Draw, ...]) -> tuple[dict[str, Any], Sequence[Reader]]:
        (draw,) = draws
        if draw.logprobs and self.tried.logprobs_are_raw and not _neutral(draw):
            raise Unsupported(
                "logprobs with sampling settings (the server was not started with"
                " --logprobs-mode processed_logprobs)",
                self.model,
            )
        return self._request(draw), [CompletionReader(draw, self.model)]

    def _request(self, draw: Draw) -> dict[str, Any]:
        room = self.facts.context_tokens - len(draw.prompt_ids)
        request: dict[str, Any] = {
            "model": self.name,
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
            request["response_format"] = schema_format(draw.json_schema)
        return request

    async def _prompt_logprobs(self, draw: Draw) -> Piece:
        return await self._given(draw.prompt_ids, draw.prompt_logprobs or 0)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """See the port. The server computes prompt and target in one prefill."""
        if not self.facts.score:
            raise Unsupported("score", self.model)
        given = await self._given(prompt_ids + target_ids, top)
        begin = len(prompt_ids)
        return Piece("", given.token_ids[begin:], given.logprobs[begin:], given.top[begin:], len(target_ids))

    async def _given(self, ids: tuple[int, ...], top: int) -> Piece:
        request = {
            "model": self.name,
            "prompt": list(ids),
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": top,
        }
        try:
            answer = await self.http.post(PATH, request)
        except HttpFailed as error:
            raise InvalidRequest.of("token_ids", str(error)) from error
        return given_logprobs(ids, answer["choices"][0]["prompt_logprobs"], top)

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        if not self.facts.embeddings:
            raise Unsupported("embeddings", self.model)
        return await embed(self.http, self.model, self.name, texts)

    async def close(self) -> None:
        await self.http.close()


def schema_format(schema: str) -> dict[str, Any]:
    """Raises InvalidRequest for what is no JSON."""
    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise InvalidRequest.of("sampling.json_schema", f"is no JSON: {error}") from error
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": parsed}}


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


def _neutral(draw: Draw) -> bool:
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
