"""A call in the words of OpenAI's chat completions (or completions, for a raw text)."""

from __future__ import annotations

import json
from typing import Any

from orchestra_cloud_proxy.domain.call import Call, Picture, Turn


def to_request(call: Call, *, vendor: bool) -> dict[str, Any]:
    """Keyword arguments of `create`. `vendor`: OpenAI itself, whose defaults are neutral and whose newer
    models refuse settings that are merely said; other servers have defaults of their own, so that neutral
    settings must be said, and know the answer's bound by its older name."""
    asked: dict[str, Any] = {
        "model": call.provider_model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if call.text is not None:
        asked["prompt"] = call.text
    else:
        asked["messages"] = [_message(turn) for turn in call.turns]
    for name, value in (
        ("temperature", call.temperature),
        ("top_p", call.top_p),
        ("presence_penalty", call.presence_penalty),
        ("frequency_penalty", call.frequency_penalty),
        ("seed", call.seed),
    ):
        if value is not None:
            asked[name] = value
    if not vendor:
        asked.setdefault("temperature", 1.0)
        asked.setdefault("top_p", 1.0)
    if call.max_tokens is not None:
        asked["max_completion_tokens" if vendor and call.text is None else "max_tokens"] = call.max_tokens
    if call.stop:
        asked["stop"] = list(call.stop)
    _add_logprobs(asked, call)
    if call.json_schema:
        schema = {"name": "answer", "strict": True, "schema": json.loads(call.json_schema)}
        asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    _add_tools(asked, call)
    return asked


def _add_logprobs(asked: dict[str, Any], call: Call) -> None:
    if not call.logprobs:
        return
    if call.text is not None:
        asked["logprobs"] = call.top_logprobs
        return
    asked["logprobs"] = True
    if call.top_logprobs:
        asked["top_logprobs"] = call.top_logprobs


def _add_tools(asked: dict[str, Any], call: Call) -> None:
    if call.tools:
        asked["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name}
                | ({"description": tool.description} if tool.description else {})
                | ({"parameters": json.loads(tool.parameters)} if tool.parameters else {}),
            }
            for tool in call.tools
        ]
    choice = call.tool_choice
    if choice is not None and choice.mode == "named":
        asked["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        asked["tool_choice"] = choice.mode


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role}
    if any(isinstance(part, Picture) for part in turn.parts):
        message["content"] = [
            {"type": "image_url", "image_url": {"url": part.url}}
            if isinstance(part, Picture)
            else {"type": "text", "text": part}
            for part in turn.parts
        ]
    elif turn.parts:
        message["content"] = "".join(part for part in turn.parts if isinstance(part, str))
    else:
        message["content"] = None
    if turn.name:
        message["name"] = turn.name
    if turn.tool_uses:
        message["tool_calls"] = [
            {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
            for use in turn.tool_uses
        ]
    if turn.tool_call_id:
        message["tool_call_id"] = turn.tool_call_id
    return message
