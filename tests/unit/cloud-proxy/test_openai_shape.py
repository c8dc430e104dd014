"""Our reading of OpenAI's stream and our wording of its requests, held against the SDK's own types."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from orchestra_cloud_proxy.adapters.openai_request import to_request
from orchestra_cloud_proxy.adapters.openai_stream import StreamReader
from orchestra_cloud_proxy.adapters.sse import SseReader
from orchestra_cloud_proxy.domain.call import Call, ToolChoice, ToolSpec, ToolUse, Turn
from orchestra_cloud_proxy.domain.chunk import Finish
from orchestra_cloud_proxy.ports import ProviderFailed

USER = (Turn("user", ("hi",)),)


def chunk(**choice: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, **choice}],
    }


BODIES = [
    chunk(delta={"role": "assistant", "content": ""}, finish_reason=None),
    chunk(
        delta={"content": "Hé"},
        logprobs={"content": [{"token": "Hé", "logprob": -0.25, "top_logprobs": []}]},
    ),
    chunk(delta={"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]}),
    chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]}),
    chunk(delta={}, finish_reason="tool_calls"),
    {
        **chunk(),
        "choices": [],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 7,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    },
]
STREAM = b"".join(b"data: %s\r\n\r\n" % json.dumps(body).encode() for body in BODIES) + b"data: [DONE]\n\n"


@given(st.lists(st.integers(1, len(STREAM)), max_size=30))
def test_the_same_is_read_however_the_bytes_are_cut(cuts: list[int]) -> None:
    """And it is what the SDK's own parsing gives."""
    reader = StreamReader()
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [one for start, end in pairwise(edges) for one in reader.feed(STREAM[start:end])]
    assert reader.done
    assert reader.end() is None
    parsed = [ChatCompletionChunk.model_validate(body) for body in BODIES]
    choices = [body.choices[0] for body in parsed if body.choices]
    assert "".join(one.text for one in chunks) == "".join(one.delta.content or "" for one in choices)
    assert "".join(piece.arguments for one in chunks for piece in one.tools) == "".join(
        (call.function.arguments or "") if call.function else ""
        for one in choices
        for call in one.delta.tool_calls or ()
    )
    assert [one.finish for one in chunks if one.finish] == [Finish.TOOL_CALLS]
    assert [prob.logprob for one in chunks for prob in one.probs] == [-0.25]
    usage, ours = parsed[-1].usage, chunks[-1].usage
    assert usage is not None
    assert ours is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert (ours.prompt, ours.completion) == (usage.prompt_tokens, usage.completion_tokens)
    assert ours.cached == usage.prompt_tokens_details.cached_tokens
    assert ours.reasoning == usage.completion_tokens_details.reasoning_tokens
    assert {one.revision for one in chunks} == {parsed[0].model}


def test_comments_and_fields_are_passed_over_and_lines_join() -> None:
    reader = SseReader()
    assert reader.feed(b": ping\n\nevent: x\ndata: a\ndata:b\n\ndata: c\n") == [b"a\nb"]
    assert reader.pending
    assert reader.feed(b"\n") == [b"c"]
    assert not reader.pending


def test_an_event_without_end_is_bounded() -> None:
    reader = StreamReader()
    with pytest.raises(ProviderFailed):
        for _ in range(20):
            reader.feed(b"x" * 1_000_000)


def test_a_refusal_is_told_as_one() -> None:
    reader = StreamReader()
    bodies = [chunk(delta={"refusal": "I will not"}), chunk(delta={}, finish_reason="stop")]
    chunks = reader.feed(b"".join(b"data: %s\n\n" % json.dumps(body).encode() for body in bodies))
    assert (chunks[0].text, chunks[1].finish) == ("I will not", Finish.REFUSAL)


class TestRequests:
    def test_the_vendor_is_told_what_was_said_and_no_more(self) -> None:
        asked = to_request(Call("gpt-5", USER, max_tokens=9), vendor=True)
        assert asked == {
            "model": "gpt-5",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_completion_tokens": 9,
        }

    def test_other_servers_are_told_the_neutral_settings(self) -> None:
        asked = to_request(Call("m", USER, max_tokens=9, top_p=0.5), vendor=False)
        assert (asked["temperature"], asked["top_p"], asked["max_tokens"]) == (1.0, 0.5, 9)

    def test_zero_is_said(self) -> None:
        asked = to_request(Call("m", USER, temperature=0.0, seed=0), vendor=True)
        assert (asked["temperature"], asked["seed"]) == (0.0, 0)

    def test_a_conversation_with_tools(self) -> None:
        turns = (
            Turn("system", ("be brief",)),
            Turn("assistant", tool_uses=(ToolUse("t1", "f", "{}"),)),
            Turn("tool", ("42",), tool_call_id="t1"),
        )
        call = Call("m", turns, tools=(ToolSpec("f", "does", '{"type":"object"}'),))
        asked = to_request(call, vendor=True)
        assert asked["messages"][1]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
        assert asked["messages"][2] == {"role": "tool", "content": "42", "tool_call_id": "t1"}
        assert asked["tools"][0]["function"]["parameters"] == {"type": "object"}
        named = to_request(Call("m", USER, tool_choice=ToolChoice("named", "f")), vendor=True)
        assert named["tool_choice"] == {"type": "function", "function": {"name": "f"}}

    def test_a_schema_is_strict(self) -> None:
        asked = to_request(Call("m", USER, json_schema='{"type":"object"}'), vendor=True)
        assert asked["response_format"]["json_schema"]["strict"] is True

    def test_a_raw_text(self) -> None:
        asked = to_request(Call("m", text="def f(", logprobs=True, max_tokens=3), vendor=True)
        assert (asked["prompt"], asked["logprobs"], asked["max_tokens"]) == ("def f(", 0, 3)
        assert "messages" not in asked
