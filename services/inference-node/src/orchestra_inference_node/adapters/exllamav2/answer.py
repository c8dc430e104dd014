"""What the generator says of one job, read into pieces. Values in, outputs out; tensors are asked for lists
alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestra_inference_node.adapters.exllamav2.text import AnswerText
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Output, Piece, Prefill, TopTokens

# a sampled token has some probability, even where a 32-bit float shows none
_LEAST_PROBABILITY = 1.2e-38


class AnswerReader:
    """Reads the results of one job in order. `ended` is set once the sample has its End."""

    def __init__(
        self,
        draw: Draw,
        text: AnswerText,
        *,
        stop_tokens: Mapping[int, str],
        eos_tokens: frozenset[int],
        own_limit: bool,
        text_of: Callable[[int], str],
    ) -> None:
        """`stop_tokens` are the draw's own, with what each is called in the End. `own_limit`: the job ends at
        the draw's max_tokens and not at the context's end."""
        self._draw = draw
        self._text = text
        self._stop_tokens = stop_tokens
        self._eos_tokens = eos_tokens
        self._own_limit = own_limit
        self._text_of = text_of
        self._tokens = 0
        self._cached = 0
        self.ended = False

    def read(self, said: Mapping[str, Any]) -> list[Output]:
        """What a result says; nothing after the end."""
        if self.ended:
            return []
        job = said["job"]
        self._cached = min(
            job.cached_pages * job.generator.page_size + job.cached_tokens, len(self._draw.prompt_ids)
        )
        match said["stage"]:
            case "prefill":
                # the last token is computed with the first of the answer
                return [Prefill(said["curr_progress"], len(self._draw.prompt_ids), self._cached)]
            case "streaming":
                return self._stream(said)
        return []

    def _stream(self, said: Mapping[str, Any]) -> list[Output]:
        piece = Piece()
        for token in _tokens(said):
            reason = self._take(token, piece)
            if reason is not None:
                return self._end(piece, *reason)
        if not said["eos"]:
            return [piece] if piece.tokens else []
        piece.text += self._text.rest()
        if self._text.matched:
            return self._end(piece, EndReason.STOP_SEQUENCE, self._text.matched)
        if said["eos_reason"] != "max_new_tokens":
            # a filter that lets nothing more follow
            return self._end(piece, EndReason.STOP)
        return self._end(piece, EndReason.MAX_TOKENS if self._own_limit else EndReason.CONTEXT_FULL)

    def _take(self, token: _Token, piece: Piece) -> tuple[EndReason, str] | None:
        """Add the token; why the answer ends with it, if it does."""
        self._tokens += 1
        piece.tokens += 1
        if self._draw.token_ids:
            piece.token_ids.append(token.id)
        if self._draw.logprobs:
            piece.logprobs.append(_log(token.probability))
            if self._draw.top_logprobs:
                piece.top.append(self._top(token))
        ends = token.id in self._stop_tokens or token.id in self._eos_tokens
        piece.text += self._text.rest() if ends else self._text.add(token.id)
        if self._text.matched:
            return EndReason.STOP_SEQUENCE, self._text.matched
        if token.id in self._stop_tokens:
            return EndReason.STOP_SEQUENCE, self._stop_tokens[token.id]
        return (EndReason.STOP, "") if ends else None

    def _top(self, token: _Token) -> TopTokens:
        # where fewer are possible the engine fills up with others, of probability 0
        likely = [(one, p) for one, p in zip(token.top_ids, token.top_probabilities, strict=True) if p > 0]
        return TopTokens(
            tuple(one for one, _ in likely),
            tuple(_log(p) for _, p in likely),
            tuple(self._text_of(one) for one, _ in likely),
        )

    def _end(self, piece: Piece, reason: EndReason, matched: str = "") -> list[Output]:
        self.ended = True
        end = End(
            reason=reason,
            stop_matched=matched,
            prompt_tokens=len(self._draw.prompt_ids),
            cached_prompt_tokens=self._cached,
            completion_tokens=self._tokens,
        )
        return [piece, end] if piece.tokens or piece.text else [end]


class _Token:
    """One sampled token. `probability` is that after all processors."""

    def __init__(self, token_id: int, probability: float, top_ids: list[int], top: list[float]) -> None:
        self.id = token_id
        self.probability = probability
        self.top_ids = top_ids
        self.top_probabilities = top


def _tokens(said: Mapping[str, Any]) -> Iterator[_Token]:
    """Those of a result; a stop token's stand under "held"."""
    for part in (said, said.get("held", {})):
        if "token_ids" not in part:
            continue
        ids: list[int] = part["token_ids"][0].tolist()
        probabilities = part["token_probs"].flatten().tolist() if "token_probs" in part else [1.0] * len(ids)
        tops = part["top_k_tokens"][0].tolist() if "top_k_tokens" in part else [[]] * len(ids)
        likely = part["top_k_probs"][0].tolist() if "top_k_probs" in part else [[]] * len(ids)
        for one in zip(ids, probabilities, tops, likely, strict=True):
            yield _Token(*one)


def _log(probability: float) -> float:
    return min(0.0, math.log(max(probability, _LEAST_PROBABILITY)))
