"""A chat as the JSON of every server with an OpenAI dialect."""

from __future__ import annotations

from collections.abc import Sequence

from orchestra_inference_node.domain.drawing import ChatMessage


def messages(chat: Sequence[ChatMessage]) -> list[dict[str, str]]:
    """`name` is there where a turn has one."""
    return [
        {"role": turn.role, "content": turn.text} | ({"name": turn.name} if turn.name else {})
        for turn in chat
    ]
