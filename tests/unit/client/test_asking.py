"""What a caller wishes reaches the mesh as the contract says, and nothing that was not said."""

from __future__ import annotations

from dataclasses import fields

import pytest

from orchestra.generation.v1 import prompt_pb2, request_pb2, routing_pb2
from orchestra_client import Ask, Options
from orchestra_client.request import generation_request
from orchestra_errors import InvalidRequest


def test_options_and_ask_have_the_same_wishes() -> None:
    assert set(Options.__annotations__) == {field.name for field in fields(Ask)} - {"prompt"}


def test_a_bare_prompt_says_nothing_else() -> None:
    request = generation_request(Ask(prompt="def f("))
    assert request == request_pb2.GenerationRequest(text="def f(")
    assert not request.HasField("sampling") and not request.HasField("routing")


def test_every_kind_of_wish() -> None:
    request = generation_request(
        Ask(
            prompt="x",
            temperature=0.0,
            n=3,
            max_tokens=7,
            stop=["\n"],
            json_schema={"type": "object"},
            candidates=["a", "b"],
            objective="speed",
            tiers=["local"],
            allow_substitution=False,
            priority="high",
            cache="refresh",
            cache_max_age=1.5,
            distinct=True,
            labels={"task": "t"},
            tools=[{"name": "run", "parameters": {"type": "object"}}],
            tool_choice="run",
        )
    )
    assert request.sampling.HasField("temperature") and request.sampling.temperature == 0
    assert (request.sampling.n, request.sampling.max_tokens, list(request.sampling.stop)) == (3, 7, ["\n"])
    assert request.sampling.json_schema == '{"type": "object"}'
    assert list(request.routing.candidates) == ["a", "b"]
    assert request.routing.objective == routing_pb2.OBJECTIVE_SPEED
    assert list(request.routing.tiers) == [routing_pb2.TIER_LOCAL]
    assert request.routing.HasField("allow_substitution") and not request.routing.allow_substitution
    assert request.priority == request_pb2.PRIORITY_HIGH
    assert request.cache.mode == request_pb2.CACHE_MODE_REFRESH and request.cache.distinct
    assert request.cache.max_age.ToMilliseconds() == 1500
    assert dict(request.labels) == {"task": "t"}
    assert request.tools[0].parameters_json_schema == '{"type": "object"}'
    assert request.tool_choice.mode == prompt_pb2.TOOL_CHOICE_MODE_NAMED


def test_prompts() -> None:
    chat = generation_request(Ask(prompt=[{"role": "user", "content": "hi"}])).chat
    assert chat.messages[0].role == prompt_pb2.ROLE_USER and chat.messages[0].parts[0].text == "hi"
    assert list(generation_request(Ask(prompt=[1, 2, 3])).token_ids.ids) == [1, 2, 3]
    assert generation_request(Ask(prompt="")).WhichOneof("prompt") == "text"


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        generation_request(
            Ask(prompt="x", objective="fast", tiers=["cheap"], n="many", priority="now")  # type: ignore[arg-type]
        )
    assert {one.field for one in caught.value.violations} == {
        "routing.objective",
        "routing.tiers",
        "sampling.n",
        "priority",
    }
    assert "speed, quality" in str(caught.value)
