"""An Ask as the contract's message. Every wrong wish is named at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from orchestra.generation.v1 import prompt_pb2, request_pb2, routing_pb2
from orchestra_errors import Violations

from .ask import Ask

_SAMPLING = (
    "n",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "stop_token_ids",
    "seed",
    "logprobs",
    "top_logprobs",
    "return_token_ids",
    "prompt_logprobs",
    "grammar",
)
_ROUTING = (
    "model",
    "candidates",
    "request_type",
    "local_only",
    "validation",
    "complex",
    "max_cost_nanos",
    "allow_substitution",
    "allow_restart",
    "allow_eliminated",
    "fallback",
)
_REQUEST = (
    "request_id",
    "rollout_id",
    "conversation_id",
    "phase",
    "run_id",
    "labels",
    "diversity_target",
)


def generation_request(ask: Ask) -> request_pb2.GenerationRequest:
    """The message of an Ask.

    Raises InvalidRequest for wishes that the contract has no room for; the rest is the mesh's to judge.
    """
    wrong = Violations()
    request = request_pb2.GenerationRequest()
    _prompt(request, ask.prompt, wrong)
    _copy(request.sampling, ask, _SAMPLING, "sampling.", wrong)
    if ask.json_schema is not None:
        schema = ask.json_schema if isinstance(ask.json_schema, str) else json.dumps(dict(ask.json_schema))
        request.sampling.json_schema = schema
    _copy(request.routing, ask, _ROUTING, "routing.", wrong)
    if ask.objective is not None:
        request.routing.objective = _word(routing_pb2.Objective, ask.objective, "routing.objective", wrong)
    tiers = (_word(routing_pb2.Tier, tier, "routing.tiers", wrong) for tier in ask.tiers or ())
    request.routing.tiers.extend(tiers)
    _copy(request, ask, _REQUEST, "", wrong)
    if ask.priority is not None:
        request.priority = _word(request_pb2.Priority, ask.priority, "priority", wrong)
    _cache(request, ask, wrong)
    _tools(request, ask, wrong)
    # an empty message and an absent one are the same wish
    for field in ("sampling", "routing"):
        if not getattr(request, field).ByteSize():
            request.ClearField(field)
    wrong.raise_if_any()
    return request


def _copy(message: Message, ask: Ask, names: Iterable[str], prefix: str, wrong: Violations) -> None:
    for name in names:
        value = getattr(ask, name)
        if value is None:
            continue
        try:
            if isinstance(value, str | bytes) or not isinstance(value, Sequence | Mapping):
                setattr(message, name, value)
            elif isinstance(value, Mapping):
                getattr(message, name).update(value)
            else:
                getattr(message, name).extend(value)
        except (TypeError, ValueError, AttributeError) as error:
            wrong.add(prefix + name, f"{value!r} does not fit: {error}")


def _word(enum: Any, word: str, field: str, wrong: Violations) -> Any:
    """The value of an enum whose names are PREFIX_WORD; 0 after a violation."""
    prefix = enum.keys()[0].removesuffix("UNSPECIFIED")
    try:
        return enum.Value(prefix + str(word).upper())
    except ValueError:
        known = ", ".join(name.removeprefix(prefix).lower() for name in enum.keys()[1:])
        wrong.add(field, f"{word!r} is not one of {known}")
        return 0


def _prompt(request: request_pb2.GenerationRequest, prompt: Any, wrong: Violations) -> None:
    if isinstance(prompt, str):
        request.text = prompt
        return
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
        wrong.add("prompt", f"a text, messages or token ids, not {type(prompt).__name__}")
        return
    if prompt and all(isinstance(one, int) and not isinstance(one, bool) for one in prompt):
        try:
            request.token_ids.ids.extend(prompt)
        except ValueError as error:
            wrong.add("token_ids", str(error))
        return
    request.chat.SetInParent()
    for at, one in enumerate(prompt):
        _message(request.chat.messages.add(), one, f"chat.messages[{at}].", wrong)


def _message(message: prompt_pb2.Message, given: Any, place: str, wrong: Violations) -> None:
    if not isinstance(given, Mapping):
        wrong.add(place.rstrip("."), f"a mapping with role and content, not {type(given).__name__}")
        return
    message.role = _word(prompt_pb2.Role, str(given.get("role", "")), place + "role", wrong)
    content = given.get("content")
    if isinstance(content, str):
        message.parts.add(text=content)
    elif content is not None:
        wrong.add(place + "content", "only text can be said this way")
    message.name = str(given.get("name", ""))
    message.tool_call_id = str(given.get("tool_call_id", ""))
    for call in given.get("tool_calls", ()):
        message.tool_calls.add(id=call["id"], name=call["name"], arguments_json=call["arguments_json"])


def _cache(request: request_pb2.GenerationRequest, ask: Ask, wrong: Violations) -> None:
    if ask.cache is not None:
        request.cache.mode = _word(request_pb2.CacheMode, ask.cache, "cache.mode", wrong)
    if ask.cache_max_age is not None:
        request.cache.max_age.FromNanoseconds(round(ask.cache_max_age * 1e9))
    if ask.cache_min_distinct is not None:
        request.cache.min_distinct = ask.cache_min_distinct
    if ask.distinct:
        request.cache.distinct = True


def _tools(request: request_pb2.GenerationRequest, ask: Ask, wrong: Violations) -> None:
    for at, tool in enumerate(ask.tools or ()):
        if not wrong.require("name" in tool, f"tools[{at}].name", "must be set"):
            continue
        parameters = tool.get("parameters", {})
        request.tools.add(
            name=tool["name"],
            description=tool.get("description", ""),
            parameters_json_schema=parameters if isinstance(parameters, str) else json.dumps(parameters),
        )
    if ask.tool_choice in ("auto", "none", "required"):
        request.tool_choice.mode = _word(prompt_pb2.ToolChoiceMode, ask.tool_choice, "tool_choice", wrong)
    elif ask.tool_choice is not None:
        request.tool_choice.mode = prompt_pb2.TOOL_CHOICE_MODE_NAMED
        request.tool_choice.name = ask.tool_choice
