"""Tokens become text, as far as it is certain: whole characters, and nothing that may be a stop text."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from orchestra_inference_node.domain.drawing import Draw, Piece, TopTokens


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token. `logprob` and `top` where the draw asked for them."""

    token_id: int
    logprob: float | None = None
    top: TopTokens | None = None


@dataclass(slots=True)
class _Held:
    """A token that was not told yet, with where its text begins and ends in the text that is held.

    `end` None: its characters are not whole."""

    drawn: Drawn
    begin: int
    end: int | None = None


class Answer:
    """Of one draw. `stopped_by` is the stop text that was met."""

    def __init__(self, draw: Draw, tokenizer: Tokenizer) -> None:
        self.stopped_by = ""
        self._draw = draw
        self._tokenizer = tokenizer
        self._decoding = DecodeStream(skip_special_tokens=True)
        self._text = ""
        self._held: list[_Held] = []

    def take(self, drawn: Drawn) -> Piece | None:
        """What can be told now. Nothing is taken after a stop."""
        self._held.append(_Held(drawn, len(self._text)))
        more = self._decoding.step(self._tokenizer, drawn.token_id)
        if not more:
            return None
        self._text += more
        for one in self._held:
            one.end = len(self._text) if one.end is None else one.end
        found = [(at, -len(stop), stop) for stop in self._draw.stop if (at := self._text.find(stop)) >= 0]
        if not found:
            return self._tell(len(self._text) - self._may_become_a_stop())
        # at one place the longer one is the one that was meant
        at, _, self.stopped_by = min(found)
        self._text = self._text[:at]
        self._held = [one for one in self._held if one.begin < at]
        return self.rest()

    def rest(self) -> Piece | None:
        """What was held back, when nothing more comes. Characters that are not whole are left out."""
        for one in self._held:
            one.end = min(len(self._text) if one.end is None else one.end, len(self._text))
        return self._tell(len(self._text))

    def _may_become_a_stop(self) -> int:
        """How many characters at the end begin a stop text."""
        most = 0
        for stop in self._draw.stop:
            sizes = range(min(len(stop) - 1, len(self._text)), most, -1)
            most = next((size for size in sizes if self._text.endswith(stop[:size])), most)
        return most

    def _tell(self, until: int) -> Piece | None:
        """The text up to there, with the tokens that end by then."""
        done = sum(1 for one in self._held if one.end is not None and one.end <= until)
        told, self._held = self._held[:done], self._held[done:]
        text, self._text = self._text[:until], self._text[until:]
        for one in self._held:
            one.begin = max(0, one.begin - until)
            one.end = None if one.end is None else one.end - until
        if not told and not text:
            return None
        piece = Piece(text, tokens=len(told))
        for one in told:
            if self._draw.token_ids:
                piece.token_ids.append(one.drawn.token_id)
            if one.drawn.logprob is not None:
                piece.logprobs.append(one.drawn.logprob)
            if one.drawn.top is not None:
                piece.top.append(one.drawn.top)
        return piece
