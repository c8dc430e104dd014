"""What a decoding model says, token by token, in the engine's own thread."""

from __future__ import annotations

from typing import Any

import numpy as np
from tokenizers import Tokenizer

from orchestra_inference_node.adapters.ctranslate2.answer import Answer, Drawn
from orchestra_inference_node.adapters.ctranslate2.likelihoods import after_processors, most_likely
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, TopTokens


class Steps:
    """Of one draw. The engine calls it with each token; True ends the decoding.

    It knows nothing of the engine: whoever is called by it may be freed in its thread, and an engine that is
    freed there waits for itself.
    """

    def __init__(self, draw: Draw, tokenizer: Tokenizer, end_id: int, box: Mailbox) -> None:
        self.given_up = False
        self.broken: Exception | None = None
        self._draw = draw
        self._tokenizer = tokenizer
        self._end_id = end_id
        self._box = box
        self._answer = Answer(draw, tokenizer)
        self._count = 0
        self._end: tuple[EndReason, str] | None = None

    def __call__(self, step: Any) -> bool:
        """What is raised here would end the decoding without its reason."""
        try:
            return self.given_up or self._take(step)
        except Exception as error:
            self.broken = error
            return True

    def finish(self) -> None:
        """Tell the rest and the end. Raises what broke, RuntimeError when the engine stopped by itself."""
        if self.broken is not None:
            raise self.broken
        if self._end is None:
            raise RuntimeError("it stopped without an end")
        rest = self._answer.rest()
        if rest is not None:
            self._box.put(rest)
        reason, matched = self._end
        self._box.put(
            End(
                reason=reason,
                stop_matched=matched,
                prompt_tokens=len(self._draw.prompt_ids),
                cached_prompt_tokens=0,
                completion_tokens=self._count,
            )
        )

    def _take(self, step: Any) -> bool:
        self._count += 1
        token: int = step.token_id
        if token in self._draw.stop_token_ids:
            shown = self._tokenizer.decode([token], skip_special_tokens=False)
            self._end = (EndReason.STOP_SEQUENCE, shown or str(token))
            return True
        if token == self._end_id:
            self._end = (EndReason.STOP, "")
            return True
        piece = self._answer.take(self._drawn(token, step))
        if piece is not None:
            self._box.put(piece)
        if self._answer.stopped_by:
            self._end = (EndReason.STOP_SEQUENCE, self._answer.stopped_by)
        elif step.is_last:
            own = self._draw.max_tokens is not None and self._count >= self._draw.max_tokens
            self._end = (EndReason.MAX_TOKENS if own else EndReason.CONTEXT_FULL, "")
        return self._end is not None

    def _drawn(self, token: int, step: Any) -> Drawn:
        if not self._draw.logprobs:
            return Drawn(token)
        logprobs = after_processors(np.array(step.logits).reshape(-1), self._draw)
        top = None
        if self._draw.top_logprobs:
            ids = most_likely(logprobs, self._draw.top_logprobs)
            texts = tuple(self._tokenizer.decode([one], skip_special_tokens=False) for one in ids)
            top = TopTokens(tuple(ids), tuple(float(logprobs[one]) for one in ids), texts)
        return Drawn(token, float(logprobs[token]), top)
