"""Prompts and tools: present, not empty, and of one shape."""

from __future__ import annotations

from orchestra.generation.v1 import prompt_pb2 as pb
from orchestra.generation.v1.request_pb2 import GenerationRequest
from orchestra_errors import Violations
from orchestra_requests.sampling import json_object_problem

_ROLES = frozenset({pb.ROLE_SYSTEM, pb.ROLE_USER, pb.ROLE_ASSISTANT, pb.ROLE_TOOL})
_MODES = frozenset(
    {
        pb.TOOL_CHOICE_MODE_AUTO,
        pb.TOOL_CHOICE_MODE_NONE,
        pb.TOOL_CHOICE_MODE_REQUIRED,
        pb.TOOL_CHOICE_MODE_NAMED,
    }
)


def check_prompt(request: GenerationRequest, v: Violations, *, max_prompt_bytes: int | None) -> None:
    """Note an absent, empty or malformed prompt, and one whose message is longer than `max_prompt_bytes`."""
    size = 0
    match request.WhichOneof("prompt"):
        case None:
            v.add("prompt", "must be set: chat, text or token_ids")
        case "chat":
            check_chat(request.chat, v)
            size = request.chat.ByteSize()
        case "text":
            v.require(bool(request.text), "text", "must not be empty")
            size = len(request.text.encode())
        case "token_ids":
            ids = request.token_ids.ids
            v.require(len(ids) > 0, "token_ids.ids", "must not be empty")
            wrong = next((i for i, token in enumerate(ids) if token < 0), None)
            if wrong is not None:
                v.add(f"token_ids.ids[{wrong}]", f"must not be negative, is {ids[wrong]}")
            size = request.token_ids.ByteSize()
    if max_prompt_bytes is not None and size > max_prompt_bytes:
        field = request.WhichOneof("prompt") or "prompt"
        v.add(field, f"has {size} bytes, at most {max_prompt_bytes} are allowed")


def check_chat(chat: pb.Chat, v: Violations) -> None:
    """Note every wrong message. The fields are named from `chat.` on."""
    if not v.require(len(chat.messages) > 0, "chat.messages", "must not be empty"):
        return
    for i, message in enumerate(chat.messages):
        _check_message(message, f"chat.messages[{i}]", v)
    says_something = any(_says_something(message) for message in chat.messages)
    v.require(says_something, "chat.messages", "all are empty")


def _says_something(message: pb.Message) -> bool:
    if message.tool_calls:
        return True
    return any(part.WhichOneof("content") != "text" or part.text for part in message.parts)


def _check_message(message: pb.Message, at: str, v: Violations) -> None:
    assistant, tool = message.role == pb.ROLE_ASSISTANT, message.role == pb.ROLE_TOOL
    v.require(message.role in _ROLES, f"{at}.role", "must be one of system, user, assistant, tool")
    only_calls = assistant and len(message.tool_calls) > 0
    v.require(len(message.parts) > 0 or only_calls, f"{at}.parts", "must not be empty")
    for i, part in enumerate(message.parts):
        _check_part(part, f"{at}.parts[{i}]", v)
    v.require(assistant or not message.tool_calls, f"{at}.tool_calls", "belong to assistant messages only")
    for i, call in enumerate(message.tool_calls):
        v.require(bool(call.id), f"{at}.tool_calls[{i}].id", "must be set")
        v.require(bool(call.name), f"{at}.tool_calls[{i}].name", "must be set")
    if tool:
        v.require(bool(message.tool_call_id), f"{at}.tool_call_id", "must be set in a tool message")
    else:
        v.require(not message.tool_call_id, f"{at}.tool_call_id", "belongs to tool messages only")


def _check_part(part: pb.Part, at: str, v: Violations) -> None:
    kind = part.WhichOneof("content")
    if kind is None:
        v.add(at, "must be set: text, image or audio")
    elif kind != "text":
        media = part.image if kind == "image" else part.audio
        filled = bool(media.data) if media.WhichOneof("source") == "data" else bool(media.uri)
        v.require(filled, f"{at}.{kind}.source", "must be set: data or uri")
        v.require("/" in media.mime_type, f"{at}.{kind}.mime_type", "must be a media type")


def check_tools(request: GenerationRequest, v: Violations) -> None:
    """Note nameless, doubled or malformed tools, and a choice that the tools cannot meet."""
    names: set[str] = set()
    for i, tool in enumerate(request.tools):
        at = f"tools[{i}]"
        if v.require(bool(tool.name), f"{at}.name", "must be set"):
            v.require(tool.name not in names, f"{at}.name", f"{tool.name!r} is there twice")
            names.add(tool.name)
        if tool.parameters_json_schema:
            problem = json_object_problem(tool.parameters_json_schema)
            v.require(problem is None, f"{at}.parameters_json_schema", problem or "")
    if not request.HasField("tool_choice"):
        return
    choice = request.tool_choice
    v.require(choice.mode in _MODES, "tool_choice.mode", "must be one of auto, none, required, named")
    if choice.mode == pb.TOOL_CHOICE_MODE_NAMED:
        v.require(choice.name in names, "tool_choice.name", f"{choice.name!r} is none of the tools")
    else:
        v.require(not choice.name, "tool_choice.name", "belongs to mode named only")
    if choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED:
        v.require(bool(names), "tool_choice.mode", "needs tools")
