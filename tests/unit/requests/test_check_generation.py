"""Every wrong field is named at once, by its proto path, and what is right passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestra.generation.v1 import prompt_pb2, request_pb2, routing_pb2
from orchestra.generation.v1.request_pb2 import GenerationRequest
from orchestra_errors import InvalidRequest
from orchestra_requests import check_generation


def right() -> GenerationRequest:
    request = GenerationRequest(text="def add(a, b):")
    request.sampling.max_tokens = 5
    return request


def fields(request: GenerationRequest, **kwargs: int) -> set[str]:
    return {violation.field for violation in check_generation(request, **kwargs).found}


def test_a_right_request_passes() -> None:
    assert fields(right()) == set()


def test_everything_wrong_is_named_at_once() -> None:
    request = GenerationRequest()
    request.sampling.max_tokens = -1
    request.sampling.temperature = 9
    request.sampling.n = 0
    request.sampling.top_logprobs = 3
    request.routing.model = "a"
    request.routing.candidates.append("b")
    found = check_generation(request)
    assert {v.field for v in found.found} == {
        "prompt",
        "sampling.max_tokens",
        "sampling.temperature",
        "sampling.n",
        "sampling.top_logprobs",
        "routing.candidates",
    }
    with pytest.raises(InvalidRequest):
        found.raise_if_any()


Change = Callable[[GenerationRequest], object]
NAN = float("nan")

WRONG: list[tuple[str, Change]] = [
    ("text", lambda r: setattr(r, "text", "")),
    ("token_ids.ids", lambda r: r.token_ids.SetInParent()),
    ("token_ids.ids[1]", lambda r: r.token_ids.ids.extend([1, -2])),
    ("chat.messages", lambda r: r.chat.SetInParent()),
    ("sampling.temperature", lambda r: setattr(r.sampling, "temperature", NAN)),
    ("sampling.top_p", lambda r: setattr(r.sampling, "top_p", 0)),
    ("sampling.top_k", lambda r: setattr(r.sampling, "top_k", -1)),
    ("sampling.min_p", lambda r: setattr(r.sampling, "min_p", 1.5)),
    ("sampling.repetition_penalty", lambda r: setattr(r.sampling, "repetition_penalty", 0)),
    ("sampling.repetition_penalty", lambda r: setattr(r.sampling, "repetition_penalty", float("inf"))),
    ("sampling.presence_penalty", lambda r: setattr(r.sampling, "presence_penalty", 3)),
    ("sampling.frequency_penalty", lambda r: setattr(r.sampling, "frequency_penalty", -3)),
    ("sampling.n", lambda r: setattr(r.sampling, "n", 4097)),
    ("sampling.stop[1]", lambda r: r.sampling.stop.extend(["\n", ""])),
    ("sampling.stop_token_ids[0]", lambda r: r.sampling.stop_token_ids.append(-1)),
    ("sampling.top_logprobs", lambda r: setattr(r.sampling, "top_logprobs", 21)),
    ("sampling.prompt_logprobs", lambda r: setattr(r.sampling, "prompt_logprobs", -1)),
    ("sampling.json_schema", lambda r: setattr(r.sampling, "json_schema", "{")),
    ("sampling.json_schema", lambda r: setattr(r.sampling, "json_schema", "[1]")),
    ("sampling.grammar", lambda r: setattr(r.sampling, "grammar", " ")),
    ("routing.tiers[0]", lambda r: r.routing.tiers.append(routing_pb2.TIER_UNSPECIFIED)),
    (
        "routing.tiers",
        lambda r: r.routing.MergeFrom(
            routing_pb2.Routing(tiers=[routing_pb2.TIER_SELECTIVE], local_only=True)
        ),
    ),
    ("routing.max_cost_nanos", lambda r: setattr(r.routing, "max_cost_nanos", -1)),
    ("routing.fallback", lambda r: r.routing.MergeFrom(routing_pb2.Routing(model="a", fallback=["b"]))),
    (
        "routing.objective",
        lambda r: r.routing.MergeFrom(routing_pb2.Routing(model="a", objective=routing_pb2.OBJECTIVE_COST)),
    ),
    ("routing.objective", lambda r: setattr(r.routing, "objective", 99)),
    ("priority", lambda r: setattr(r, "priority", 99)),
    ("cache.mode", lambda r: setattr(r.cache, "mode", 99)),
    ("cache.min_distinct", lambda r: setattr(r.cache, "min_distinct", -1)),
    ("cache.max_age", lambda r: r.cache.max_age.FromSeconds(-5)),
    ("request_id", lambda r: setattr(r, "request_id", "x" * 129)),
    ("labels", lambda r: r.labels.update({str(i): "" for i in range(33)})),
    ("labels['k']", lambda r: r.labels.update({"k": "x" * 257})),
    ("tools[0].name", lambda r: r.tools.add()),
    ("tools[0].parameters_json_schema", lambda r: r.tools.add(name="f", parameters_json_schema="7")),
    ("tool_choice.mode", lambda r: r.tool_choice.SetInParent()),
    (
        "tool_choice.name",
        lambda r: r.tool_choice.MergeFrom(
            prompt_pb2.ToolChoice(mode=prompt_pb2.TOOL_CHOICE_MODE_NAMED, name="f")
        ),
    ),
    ("diversity_target", lambda r: setattr(r, "diversity_target", 2.0)),
]


@pytest.mark.parametrize(
    ("field", "change"), WRONG, ids=[f"{i}-{field}" for i, (field, _) in enumerate(WRONG)]
)
def test_one_wrong_field_is_named_alone(field: str, change: Change) -> None:
    request = right()
    change(request)
    assert fields(request) == {field}


def test_greedy_draws_only_one_sample() -> None:
    request = right()
    request.sampling.temperature = 0
    assert fields(request) == set()
    request.sampling.n = 2
    assert fields(request) == {"sampling.n"}


def test_a_chat_names_the_message_that_is_wrong() -> None:
    request = right()
    messages = request.chat.messages
    messages.add(role=prompt_pb2.ROLE_USER).parts.add(text="hello")
    messages.add().parts.add()
    messages.add(role=prompt_pb2.ROLE_TOOL).parts.add(text="4")
    messages.add(role=prompt_pb2.ROLE_USER, tool_call_id="c").parts.add().image.data = b"\x89PNG"
    assert fields(request) == {
        "chat.messages[1].role",
        "chat.messages[1].parts[0]",
        "chat.messages[2].tool_call_id",
        "chat.messages[3].tool_call_id",
        "chat.messages[3].parts[0].image.mime_type",
    }


def test_a_chat_of_empty_texts_is_an_empty_prompt() -> None:
    request = right()
    request.chat.messages.add(role=prompt_pb2.ROLE_USER).parts.add(text="")
    assert fields(request) == {"chat.messages"}


def test_a_prompt_over_the_bound_is_refused_by_size() -> None:
    request = GenerationRequest(text="x" * 1001)
    assert fields(request, max_prompt_bytes=1000) == {"text"}
    assert fields(request, max_prompt_bytes=1001) == set()


@given(st.binary(max_size=200))
def test_no_request_that_parses_makes_the_check_raise(data: bytes) -> None:
    try:
        request = request_pb2.GenerationRequest.FromString(data)
    except Exception:
        return
    check_generation(request)
