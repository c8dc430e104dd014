"""What every engine that embeds and does nothing else has in common."""

from __future__ import annotations

import asyncio

from tokenizers import Encoding, Tokenizer

from orchestra_errors import Unsupported, Violations
from orchestra_inference_node.domain.drawing import ChatMessage, Draw, Piece
from orchestra_inference_node.ports import EngineFacts, Outputs


class EmbedsAlone:
    """It tokenizes, and refuses by name what needs a head that it has not."""

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

    def generate(self, draws: tuple[Draw, ...], idle_s: float) -> tuple[Outputs, ...]:
        raise Unsupported("generate", self._model)

    async def score(self, prompt_ids: tuple[int, ...], target_ids: tuple[int, ...], top: int) -> Piece:
        raise Unsupported("score", self._model)

    def _encode(self, texts: tuple[str, ...]) -> list[Encoding]:
        """Raises InvalidRequest naming every text that is too long. It blocks."""
        encoded: list[Encoding] = self._tokenizer.encode_batch(list(texts))
        found = Violations()
        limit = self._facts.context_tokens
        for at, one in enumerate(encoded):
            found.require(
                len(one.ids) <= limit,
                f"texts[{at}]",
                f"has {len(one.ids)} tokens; {self._model} takes {limit}",
            )
        found.raise_if_any()
        return encoded
