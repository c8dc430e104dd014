"""What every engine that embeds and does nothing else has in common."""

from __future__ import annotations

from tokenizers import Encoding

from orchestra_errors import Unsupported, Violations
from orchestra_inference_node.adapters.reads_texts import ReadsTexts
from orchestra_inference_node.domain.drawing import Draw, Piece
from orchestra_inference_node.ports import Outputs


class EmbedsAlone(ReadsTexts):
    """It refuses by name what needs a head that it has not."""

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
