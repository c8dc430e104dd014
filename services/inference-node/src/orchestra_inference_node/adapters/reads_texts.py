"""What every engine has that reads texts with a tokenizer of its own and has no chat template."""

from __future__ import annotations

import asyncio

from tokenizers import Tokenizer

from orchestra_errors import Unsupported
from orchestra_inference_node.domain.drawing import ChatMessage
from orchestra_inference_node.ports import EngineFacts


class ReadsTexts:
    """It tokenizes, and refuses chats by name."""

    def __init__(self, model: str, tokenizer: Tokenizer, facts: EngineFacts) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._facts = facts

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    async def tokenize(
        self, prompt: tuple[ChatMessage, ...] | str, *, special: bool = True
    ) -> tuple[int, ...]:
        """See the port. Raises Unsupported for a chat."""
        if not isinstance(prompt, str):
            raise Unsupported("chat", self._model)
        encoded = await asyncio.to_thread(self._tokenizer.encode, prompt, add_special_tokens=special)
        return tuple(encoded.ids)
