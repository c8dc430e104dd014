"""TabbyAPI's dialect, against a stand-in that answers as its source does. It is not the real thing."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestra_errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable, Unsupported
from orchestra_inference_node.adapters.openai_server.opening import inspect, open_server
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, End, EndReason, Output, Piece
from orchestra_inference_node.ports import Engine, LoadSettings
from orchestra_testing.answering import serving

BOS = "<s>"


@dataclass
class Tabby:
    """Its model has the code points of ASCII as tokens, 1 for its BOS, and answers with the alphabet."""

    loaded: bool = True
    encodes: bool = True
    finish: str = "length"
    swallows_spaces: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)

    def get(self, path: str) -> tuple[int, Any]:
        card = {
            "id": "held-exl3",
            "object": "model",
            "owned_by": "tabbyAPI",
            "parameters": {"max_seq_len": 65, "max_batch_size": 3, "cache_mode": "FP16"},
        }
        if not self.loaded and path in ("/v1/model", "/props"):
            return 503, {"error": {"message": "No models are currently loaded.", "trace": None}}
        match path:
            case "/v1/models":
                # it lists what lies in its folder
                return 200, {"object": "list", "data": [card, {"id": "other", "object": "model"}]}
            case "/v1/model":
                return 200, card
            case "/props":
                # like a llama-server's
                return 200, {"total_slots": 3, "default_generation_settings": {"n_ctx": 65}}
        return 404, {"detail": "Not Found"}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        match path:
            case "/v1/token/encode" if self.encodes:
                tokens = self.encode(body["text"], bos=body.get("add_bos_token", True))
                return 200, {"tokens": tokens, "length": len(tokens)}
            case "/v1/token/decode":
                return 200, {"text": "".join(BOS if one == 1 else chr(one) for one in body["tokens"])}
            case "/v1/completions":
                return self.complete(body)
        return 404, {"detail": "Not Found"}

    def encode(self, text: str, *, bos: bool) -> list[int]:
        head, text = ([1], text[len(BOS) :]) if text.startswith(BOS) else ([], text)
        if self.swallows_spaces:
            text = text.replace(" ", "")
        return [*([1] if bos else []), *head, *map(ord, text)]

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.seen.append(body)
        if not isinstance(body["prompt"], str):
            return 422, {"detail": "prompt must be text"}
        text = '"Z"' if "json_schema" in body else "abcdefghijklmnopqrstuvwxyz"
        text = text[: body["max_tokens"]]
        if not body.get("stream"):
            return 200, {"choices": [{"index": 0, "finish_reason": self.finish, "text": text}]}
        prompt = self.encode(body["prompt"], bos=body["add_bos_token"])
        counts = {"prompt_tokens": len(prompt), "completion_tokens": len(text)}
        # with counts, the finish comes with them and says nothing more
        last = {"index": 0, "text": "", "finish_reason": self.finish}
        return 200, [
            *({"choices": [{"index": 0, "text": one, "finish_reason": None}]} for one in text),
            {"choices": [last], "usage": counts | {"prompt_time": 0.1}},
        ]


def settings(url: str) -> LoadSettings:
    return LoadSettings("m", url, None, None, True, None, {}, Path("/nowhere"))


async def outputs(engine: Engine, ids: tuple[int, ...], **draw: Any) -> list[Output]:
    (stream,) = engine.generate((Draw(ids, seed=1, **draw),), idle_s=10.0)
    async with aclosing(stream):
        return [output async for output in stream]


async def test_facts_are_what_the_server_has_shown() -> None:
    with serving(Tabby()) as url:
        assert inspect(url, {}).identity.startswith("reported:held-exl3:")
        with pytest.raises(NotFound, match="held-exl3"):
            inspect(url, {"model": "other"})
        facts = open_server(settings(url)).facts
    assert (facts.name, facts.context_tokens, facts.slots) == ("TabbyAPI", 64, 3)
    assert facts.generate and facts.json_schema
    assert facts.missing_sampling == ("seed", "stop_token_ids")
    assert not (facts.chat or facts.token_ids_in or facts.token_ids_out or facts.logprobs or facts.score)


async def test_a_text_is_sent_when_its_tokens_are_those_that_were_counted() -> None:
    fake = Tabby()
    with serving(fake) as url:
        engine = open_server(settings(url))
        ids = await engine.tokenize("hi")
        assert ids == (1, 104, 105)
        *pieces, end = await outputs(engine, ids, max_tokens=3, stop=("x",))
        await engine.close()
    sent = fake.seen[-1]
    assert (sent["prompt"], sent["add_bos_token"], sent["stop"]) == ("<s>hi", False, ["x"])
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == "abc"
    assert end == End(EndReason.MAX_TOKENS, "", 3, 0, 3)


async def test_a_text_that_would_be_read_otherwise_is_refused_and_not_sent() -> None:
    fake = Tabby(swallows_spaces=True)
    with serving(fake) as url:
        engine = open_server(settings(url))
        before = len(fake.seen)
        with pytest.raises(InvalidRequest, match="other tokens"):
            await outputs(engine, (104, 32, 105))
        await engine.close()
    assert len(fake.seen) == before


async def test_an_end_of_the_models_own_and_a_schema() -> None:
    with serving(Tabby(finish="stop")) as url:
        engine = open_server(settings(url))
        *pieces, end = await outputs(engine, (104,), json_schema='{"enum": ["Z"]}')
        with pytest.raises(Unsupported):
            await engine.tokenize((ChatMessage("user", "hi"),))
        await engine.close()
    assert "".join(piece.text for piece in pieces if isinstance(piece, Piece)) == '"Z"'
    assert isinstance(end, End) and end.reason is EndReason.STOP


async def test_a_server_without_a_model_or_an_encoder_is_refused_with_the_reason() -> None:
    with serving(Tabby(loaded=False)) as url, pytest.raises(Unavailable, match="No models are"):
        inspect(url, {"server": "tabbyapi"})
    with serving(Tabby(encodes=False)) as url, pytest.raises(FailedPrecondition, match="token/encode"):
        open_server(settings(url))
