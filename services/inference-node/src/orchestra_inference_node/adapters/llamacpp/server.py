"""A model in a llama.cpp server, wherever it runs: in this process or behind an address."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from orchestra_errors import InvalidRequest, Unsupported
from orchestra_inference_node.adapters.chats import messages
from orchestra_inference_node.adapters.exchanges import Exchanges, HttpFailed, Posts
from orchestra_inference_node.adapters.llamacpp.chunks import ChunkReader
from orchestra_inference_node.adapters.llamacpp.request import completion_request, forks
from orchestra_inference_node.adapters.llamacpp.scoring import Scorer
from orchestra_inference_node.adapters.llamacpp.told_later import ToldLater
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.adapters.runs import Reader, Run
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Embedded, Piece, TopTokens
from orchestra_inference_node.ports import EngineFacts, Outputs


class LlamaServer:
    """An Engine, for as long as the server lives."""

    def __init__(
        self,
        model: str,
        facts: EngineFacts,
        posts: Posts,
        exchanges: Exchanges,
        tokens: int,
        vocabulary: Vocabulary,
        as_constraint: Callable[[str], dict[str, Any]],
        *,
        cache_prompt: bool = True,
    ) -> None:
        """`tokens` counts the model's, `vocabulary` is what they stand for. `as_constraint` turns a JSON
        schema into the server's `grammar` or `json_schema` and raises ValueError for what is none.
        `cache_prompt`: what a slot holds of a prompt is not computed again."""
        self._model = model
        self._facts = facts
        self._posts = posts
        self._exchanges = exchanges
        self._tokens = tokens
        self._vocabulary = vocabulary
        self._as_constraint = as_constraint
        self._cache_prompt = cache_prompt
        self._stop_texts: dict[int, str] = {}
        self._proven: set[str] = set()

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        """A text's special tokens are read as such, as in a rendered chat."""
        text = prompt if isinstance(prompt, str) else await self._render(prompt)
        answer = await self._posts.post(
            "/tokenize", {"content": text, "add_special": special, "parse_special": True}
        )
        return tuple(answer["tokens"])

    async def _render(self, chat: tuple[ChatMessage, ...]) -> str:
        try:
            answer = await self._posts.post("/apply-template", {"messages": messages(chat)})
        except HttpFailed as error:
            raise InvalidRequest.of("chat.messages", f"the model's template refuses them: {error}") from error
        return str(answer["prompt"])

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[Outputs, ...]:
        """See the port. The server's own queue stays empty as long as callers hold slots."""
        told_later = draws[0].logprobs and draws[0].neutral
        asked = tuple(replace(draw, token_ids=True) for draw in draws) if told_later else draws
        shared = self._facts.forks and forks(asked)
        runs = [asked] if shared else [(draw,) for draw in asked]
        streams = [stream for run in runs for stream in self._run(run).streams(idle_s)]
        if not told_later:
            return tuple(streams)
        return tuple(
            ToldLater(draw, stream, self.score, idle_s) for draw, stream in zip(draws, streams, strict=True)
        )

    def _run(self, draws: tuple[Draw, ...]) -> Run:
        return Run(draws, self._model, self._exchanges, self._prepare, self._prompt_logprobs)

    async def _prepare(self, draws: tuple[Draw, ...]) -> tuple[dict[str, Any], Sequence[Reader]]:
        first = draws[0]
        request = completion_request(
            first,
            await self._constraint(first),
            self._facts.context_tokens,
            spelled=self._vocabulary.known,
        )
        if len(draws) > 1:
            request["n_cmpl"] = len(draws)
        request["cache_prompt"] = self._cache_prompt and not first.fresh
        stop_texts = {token: await self._text_of(token) for token in first.stop_token_ids}
        forked = len(draws) > 1
        return request, [
            ChunkReader(draw, self._model, stop_texts, self._vocabulary, forked=forked and at > 0)
            for at, draw in enumerate(draws)
        ]

    async def _prompt_logprobs(self, draw: Draw) -> Piece:
        top = draw.prompt_logprobs or 0
        scored = await self.score(draw.prompt_ids[:1], draw.prompt_ids[1:], top)
        scored.token_ids.insert(0, draw.prompt_ids[0])
        scored.logprobs.insert(0, 0.0)
        if top:
            scored.top.insert(0, TopTokens((), (), ()))
        return scored

    async def embed(self, texts: tuple[str, ...]) -> list[Embedded]:
        raise Unsupported("embeddings", self._model)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        """See the port. The server tells no logprobs of what it is given, so it is made to draw the target:
        a token takes as long as one that is generated."""
        self._check_tokens("token_ids", (*prompt_ids, *target_ids))
        return await Scorer(self._model, self._exchanges, self._vocabulary).score(prompt_ids, target_ids, top)

    async def _constraint(self, draw: Draw) -> dict[str, Any]:
        if draw.grammar is not None:
            return {"grammar": draw.grammar}
        if draw.json_schema is None:
            return {}
        try:
            constraint = self._as_constraint(draw.json_schema)
        except (RuntimeError, ValueError) as error:
            raise InvalidRequest.of("sampling.json_schema", str(error)) from error
        known = json.dumps(constraint)
        if known not in self._proven:
            if not await self._holds(constraint):
                raise InvalidRequest.of("sampling.json_schema", "the engine cannot hold an answer to it")
            self._proven.add(known)
        return constraint

    async def _holds(self, constraint: dict[str, Any]) -> bool:
        """Whether a JSON grammar constrains at all: the server drops one that it cannot compile without a
        word.

        One token is drawn with all weight on a letter that begins no JSON value; under a grammar it
        cannot come.
        """
        answer = await self._posts.post("/tokenize", {"content": "Z", "add_special": False})
        letter = answer["tokens"][0]
        try:
            drawn = await self._posts.post(
                "/completion",
                {
                    "prompt": [letter],
                    "logit_bias": [[letter, 1000.0]],
                    "n_predict": 1,
                    "temperature": 0.0,
                    "return_tokens": True,
                    "cache_prompt": False,
                    **constraint,
                },
            )
        except HttpFailed:
            return False
        return bool(drawn["tokens"] != [letter])

    async def _text_of(self, token: int) -> str:
        if token not in self._stop_texts:
            self._check_tokens("sampling.stop_token_ids", (token,))
            try:
                answer = await self._posts.post("/detokenize", {"tokens": [token]})
            except HttpFailed as error:
                raise InvalidRequest.of("sampling.stop_token_ids", f"{token}: {error}") from error
            self._stop_texts[token] = str(answer["content"])
        return self._stop_texts[token]

    def _check_tokens(self, field: str, ids: Sequence[int]) -> None:
        beyond = next((one for one in ids if not 0 <= one < self._tokens), None)
        if beyond is not None:
            raise InvalidRequest.of(field, f"{beyond} is no token of {self._model}")

    async def close(self) -> None:
        """Nothing of the server is held."""
