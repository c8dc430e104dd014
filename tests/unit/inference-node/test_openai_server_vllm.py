"""vLLM's dialect, against a stand-in that answers as vLLM's source does. It is not the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestra_errors import FailedPrecondition, InvalidRequest, NotFound, Unsupported
from orchestra_inference_node.adapters.openai_server.opening import inspect, open_server
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, End, EndReason, Output, Piece
from orchestra_inference_node.ports import Engine, LoadSettings
from orchestra_testing.answering import serving

CHAT_OPENS = 2
GAP = 1.5
"""Between the logprobs of the likeliest two tokens at temperature 1."""


@dataclass
class Vllm:
    """Its model has the code points of ASCII as tokens and answers with the alphabet."""

    models: list[str] = field(default_factory=lambda: ["served"])
    processed: bool = False
    max_logprobs: int = 20
    gives_ids: bool = True
    tokenizes: bool = True
    template: bool = True
    structured: bool = True
    stop_reason: str | int | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)

    def get(self, path: str) -> tuple[int, Any]:
        match path:
            case "/version":
                return 200, {"version": "0.11.0"}
            case "/v1/models":
                cards = [
                    {"id": name, "object": "model", "owned_by": "vllm", "root": name, "max_model_len": 64}
                    for name in self.models
                ]
                return 200, {"object": "list", "data": cards}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/tokenize" and self.tokenizes:
            return self.tokenize(body)
        if path != "/v1/completions":
            return 404, {"detail": "Not Found"}
        self.seen.append(body)
        if body["model"] not in self.models:
            return self.wrong(404, f"The model `{body['model']}` does not exist.")
        if (body.get("logprobs") or 0) > self.max_logprobs:
            return self.wrong(400, f"Requested sample logprobs of {body['logprobs']}")
        if "response_format" in body and not self.structured:
            return self.wrong(400, "structured outputs are off")
        chunks = list(self.chunks(body))
        if body.get("stream"):
            return 200, chunks
        text = "".join(one["choices"][0]["text"] for one in chunks[:-1])
        choice = dict(chunks[0]["choices"][0]) | {"text": text}
        if body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self.given(body["prompt"], body["prompt_logprobs"])
        return 200, {"object": "text_completion", "choices": [choice], "usage": chunks[-1]["usage"]}

    @staticmethod
    def wrong(code: int, message: str) -> tuple[int, Any]:
        return code, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": code}}

    def tokenize(self, body: dict[str, Any]) -> tuple[int, Any]:
        if "messages" in body:
            if not self.template:
                return self.wrong(400, "default chat template is no longer allowed")
            text = "".join(turn["content"] for turn in body["messages"])
            ids = [*map(ord, text), *[1] * CHAT_OPENS] if body.get("add_generation_prompt", True) else []
        else:
            ids = [0] * body.get("add_special_tokens", True) + [*map(ord, body["prompt"])]
        return 200, {"count": len(ids), "max_model_len": 64, "tokens": ids, "token_strs": None}

    def chunks(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        text = '"Z"' if "response_format" in body else "abcdefghijklmnopqrstuvwxyz"
        text = text[: body["max_tokens"]]
        for at, letter in enumerate(text):
            choice: dict[str, Any] = {"index": 0, "text": letter, "logprobs": None, "finish_reason": None}
            if body.get("return_token_ids") and self.gives_ids:
                choice["token_ids"] = [ord(letter)]
            if body.get("logprobs") is not None:
                choice["logprobs"] = self.logprobs(ord(letter), body)
            if at == len(text) - 1:
                full = len(text) == body["max_tokens"]
                choice |= {"finish_reason": "length" if full else "stop", "stop_reason": None}
                if self.stop_reason is not None:
                    choice |= {"finish_reason": "stop", "stop_reason": self.stop_reason}
            yield {"object": "text_completion", "choices": [choice]}
        counts = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(text)}
        yield {"choices": [], "usage": counts | {"prompt_tokens_details": {"cached_tokens": 2}}}

    def logprobs(self, token: int, body: dict[str, Any]) -> dict[str, Any]:
        gap = GAP / (body["temperature"] or 1.0) if self.processed else GAP
        named = body.get("return_tokens_as_token_ids")
        names = [f"token_id:{one}" if named else chr(one) for one in (token, 63)]
        # the drawn one, and as many of the likeliest as were asked for
        top = dict(zip(names, (-0.1, -0.1 - gap), strict=True))
        return {"tokens": [names[0]], "token_logprobs": [-0.1], "top_logprobs": [top], "text_offset": [0]}

    @staticmethod
    def given(ids: list[int], top: int) -> list[Any]:
        def one(token: int) -> dict[str, Any]:
            own = {str(token): {"logprob": -2.0, "rank": 2, "decoded_token": chr(token)}}
            best = {"63": {"logprob": -0.5, "rank": 1, "decoded_token": "?"}}
            return best | own if top else own

        return [None, *map(one, ids[1:])]


def settings(url: str, **options: str) -> LoadSettings:
    return LoadSettings("m", url, None, None, True, None, options, Path("/nowhere"))


async def outputs(engine: Engine, **draw: Any) -> list[Output]:
    (stream,) = engine.generate((Draw((104, 105), seed=1, **draw),), idle_s=10.0)
    async with aclosing(stream):
        return [output async for output in stream]


async def test_facts_are_what_the_server_has_shown() -> None:
    with serving(Vllm(processed=True)) as url:
        model = inspect(url, {})
        assert model.files == () and model.chat and model.identity.startswith("reported:served:")
        facts = open_server(settings(url)).facts
    assert (facts.name, facts.build, facts.context_tokens) == ("vLLM", "0.11.0", 64)
    assert facts.chat and facts.token_ids_in and facts.token_ids_out and facts.deterministic_seed
    assert facts.json_schema and facts.score and facts.prompt_logprobs and facts.logprobs
    assert facts.max_top_logprobs == 20
    assert not (facts.grammar or facts.forks or facts.embeddings or facts.missing_sampling)


async def test_what_a_server_lacks_is_denied() -> None:
    old = Vllm(gives_ids=False, template=False, structured=False)
    with serving(old) as url:
        assert not inspect(url, {}).chat
        facts = open_server(settings(url)).facts
    assert facts.generate and facts.token_ids_in
    assert not (facts.chat or facts.token_ids_out or facts.logprobs or facts.json_schema)
    with serving(Vllm(max_logprobs=5)) as url:
        assert open_server(settings(url)).facts.max_top_logprobs == 5
    with serving(Vllm(tokenizes=False)) as url, pytest.raises(FailedPrecondition, match="no /tokenize"):
        open_server(settings(url))


async def test_one_of_several_models_has_to_be_named() -> None:
    with serving(Vllm(models=["a", "b"])) as url:
        with pytest.raises(InvalidRequest, match="lists 2: a, b") as refusal:
            inspect(url, {})
        assert refusal.value.violations[0].field == "spec.engine_options['model']"
        with pytest.raises(NotFound, match="nearest: a, b"):
            inspect(url, {"model": "c"})
        assert inspect(url, {"model": "b"}).identity.startswith("reported:b:")
        with pytest.raises(FailedPrecondition, match="is no tabbyapi"):
            inspect(url, {"model": "b", "server": "tabbyapi"})


async def test_prompts_are_tokenized_by_the_server() -> None:
    with serving(Vllm()) as url:
        engine = open_server(settings(url))
        assert await engine.tokenize("hi") == (0, 104, 105)
        assert await engine.tokenize("hi", special=False) == (104, 105)
        assert await engine.tokenize((ChatMessage("user", "hi"),)) == (104, 105, 1, 1)
        await engine.close()


async def test_an_answer_has_its_ids_logprobs_and_the_servers_counts() -> None:
    fake = Vllm(processed=True)
    with serving(fake) as url:
        engine = open_server(settings(url))
        said = await outputs(
            engine, temperature=0.5, max_tokens=3, token_ids=True, logprobs=True, top_logprobs=1
        )
        await engine.close()
    pieces, end = said[:-1], said[-1]
    whole = Piece()
    for piece in pieces:
        assert isinstance(piece, Piece)
        whole.append(piece)
    assert (whole.text, whole.token_ids, whole.tokens) == ("abc", [97, 98, 99], 3)
    assert whole.logprobs == [-0.1] * 3
    assert [top.token_ids for top in whole.top] == [(97,), (98,), (99,)]
    assert end == End(EndReason.MAX_TOKENS, "", 2, 2, 3)
    sent = fake.seen[-1]
    assert (sent["top_k"], sent["seed"], sent["temperature"]) == (-1, 1, 0.5)


@pytest.mark.parametrize(
    ("stop_reason", "draw", "reason", "matched"),
    [
        ("x", {"stop": ("x",)}, EndReason.STOP_SEQUENCE, "x"),
        (7, {"stop_token_ids": (7,)}, EndReason.STOP_SEQUENCE, "7"),
        # the model's own end, as its generation_config names it
        (7, {}, EndReason.STOP, ""),
        (None, {}, EndReason.STOP, ""),
    ],
)
async def test_an_end_says_why(
    stop_reason: Any, draw: dict[str, Any], reason: EndReason, matched: str
) -> None:
    with serving(Vllm(stop_reason=stop_reason)) as url:
        engine = open_server(settings(url))
        end = (await outputs(engine, **draw))[-1]
        await engine.close()
    assert isinstance(end, End)
    assert (end.reason, end.stop_matched) == (reason, matched)


async def test_logprobs_before_the_settings_are_given_for_neutral_draws_alone() -> None:
    with serving(Vllm(processed=False)) as url:
        engine = open_server(settings(url))
        assert isinstance((await outputs(engine, logprobs=True, max_tokens=1))[0], Piece)
        for setting in ({"temperature": 0.7}, {"top_p": 0.9}, {"json_schema": "{}"}):
            with pytest.raises(Unsupported, match="processed_logprobs"):
                await outputs(engine, logprobs=True, **setting)
        await engine.close()


async def test_given_tokens_are_scored_in_one_prefill() -> None:
    with serving(Vllm()) as url:
        engine = open_server(settings(url))
        scored = await engine.score((1, 2), (3, 4), 1)
        (*_, end) = await outputs(engine, max_tokens=1, prompt_logprobs=0)
        await engine.close()
    assert (scored.token_ids, scored.logprobs, scored.tokens) == ([3, 4], [-2.0, -2.0], 2)
    assert scored.top[0].token_ids == (63,) and scored.top[0].texts == ("?",)
    assert isinstance(end, End) and end.prompt_logprobs is not None
    assert end.prompt_logprobs.logprobs == [0.0, -2.0]


async def test_a_schema_that_is_no_json_is_refused() -> None:
    with serving(Vllm()) as url:
        engine = open_server(settings(url))
        with pytest.raises(InvalidRequest) as refusal:
            await outputs(engine, json_schema="{")
        assert refusal.value.violations[0].field == "sampling.json_schema"
        await engine.close()
