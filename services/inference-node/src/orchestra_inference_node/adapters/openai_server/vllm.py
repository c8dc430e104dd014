"""vLLM: /tokenize, and token ids both ways in /v1/completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestra_errors import DataLoss, InvalidRequest, Unsupported
from orchestra_inference_node.adapters.chats import messages
from orchestra_inference_node.adapters.exchanges import HttpFailed
from orchestra_inference_node.adapters.openai_server.asking import Asker
from orchestra_inference_node.adapters.openai_server.completions import PATH, CompletionReader
from orchestra_inference_node.adapters.openai_server.embedding import embed, embeds
from orchestra_inference_node.adapters.openai_server.entry import VLLM
from orchestra_inference_node.adapters.openai_server.found import (
    Found,
    context_of,
    count,
    ids_of,
    must_be_of_use,
    must_tokenize,
    the_model,
)
from orchestra_inference_node.adapters.openai_server.http import ServerHttp
from orchestra_inference_node.adapters.openai_server.vllm_requests import (
    completion_request,
    given_logprobs,
    is_neutral,
)
from orchestra_inference_node.adapters.openai_server.vllm_trials import Tried, try_out
from orchestra_inference_node.adapters.runs import Reader, RunStream, each_alone
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece
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
    ids = must_tokenize(asker, "/tokenize", {"model": found.name, "prompt": "Hello"})
    tried = try_out(asker, found.name, ids)
    embeddings = embeds(asker, found.name)
    must_be_of_use(asker, generates=tried.generates, embeds=embeddings)
    facts = EngineFacts(
        name="vLLM",
        build=found.build,
        context_tokens=context_of(asker, found, settings.context_tokens),
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
            asked = {"messages": messages(prompt), "add_generation_prompt": True, "add_special_tokens": False}
        try:
            answer = await self.http.post("/tokenize", {"model": self.name, **asked})
        except HttpFailed as error:
            field = "text" if isinstance(prompt, str) else "chat.messages"
            raise InvalidRequest.of(field, f"the server refuses it: {error}") from error
        return tuple(answer["tokens"])

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[RunStream, ...]:
        """See the port. The server itself finds a prompt that another draw has computed."""
        return each_alone(draws, idle_s, self.model, self.http, self._prepare, self._prompt_logprobs)

    async def _prepare(self, draw: Draw) -> tuple[dict[str, Any], Reader]:
        if draw.logprobs and self.tried.logprobs_are_raw and not is_neutral(draw):
            raise Unsupported(
                "logprobs with sampling settings (the server was not started with"
                " --logprobs-mode processed_logprobs)",
                self.model,
            )
        request = completion_request(draw, self.name, self.facts.context_tokens)
        return request, CompletionReader(draw, self.model)

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
        try:
            return given_logprobs(ids, answer["choices"][0]["prompt_logprobs"], top)
        except (LookupError, TypeError, ValueError) as error:
            raise DataLoss(f"the scores of {self.model}", f"{type(error).__name__}: {error}") from error

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        if not self.facts.embeddings:
            raise Unsupported("embeddings", self.model)
        return await embed(self.http, self.model, self.name, texts)

    async def close(self) -> None:
        await self.http.close()
