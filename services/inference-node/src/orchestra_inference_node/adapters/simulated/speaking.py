"""One answer, token by token, and the pieces and the end that are made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from math import log
from random import Random

from orchestra_inference_node.adapters.simulated.answers import AnswerTree
from orchestra_inference_node.adapters.simulated.choosing import Odds, odds, penalizes, pick
from orchestra_inference_node.adapters.simulated.words import Characters, text_of
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Piece, TopTokens
from orchestra_inference_node.domain.stopping import StopTexts

Said = tuple[int, float, Sequence[Odds]]
"""A token, its probability, and all that could have been said; empty where nothing else could."""


def speak(draw: Draw, tree: AnswerTree, least: int) -> Iterator[Said]:
    """The answer that the draw's seed gives: of `least` tokens or more, in whole lines."""
    chance = Random(draw.seed)
    counts = penalizes(draw)
    seen = Counter(draw.prompt_ids if counts else ())
    fork, said = tree.root(), 0
    while True:
        found = odds(draw, [way.first for way in fork.ways], [way.weight for way in fork.ways], seen)
        one = pick(found, chance.random())
        way = fork.ways[one.way]
        line = way.tokens
        for token in fork.lead:
            yield token, 1.0, ()
        yield one.token, one.probability, found
        for token in line[1:]:
            yield token, 1.0, ()
        if counts:
            seen.update(fork.lead)
            seen.update(line)
        said += len(fork.lead) + len(line)
        if said >= least and way.leaves in (None, 1):
            return
        fork = tree.after(way)


class Writer:
    """Makes pieces of what is said, up to the first thing that ends the answer."""

    def __init__(self, draw: Draw, said: Iterator[Said], room: int, cached: int) -> None:
        """`room` is how many tokens the context leaves; `cached` tokens of the prompt were not computed."""
        self._draw = draw
        self._said = said
        self._room = room
        self._cached = cached
        self._limit = room if draw.max_tokens is None else min(room, draw.max_tokens)
        self._characters = Characters()
        self._stops = StopTexts(draw.stop) if draw.stop else None
        self._tokens = 0
        self.end: End | None = None

    def write(self, count: int) -> Piece:
        """The next tokens, `count` or fewer where the answer ends; `end` then says how."""
        piece = Piece()
        begin = self._tokens
        for token, probability, could in islice(self._said, min(count, self._limit - begin)):
            if token in self._draw.stop_token_ids:
                self._finish(piece, EndReason.STOP_SEQUENCE, text_of([token]) or str(token))
                break
            self._tokens += 1
            self._add(piece, token, probability, could)
            if self.end is not None:
                break
        else:
            if self._tokens == self._limit:
                short = self._draw.max_tokens is not None and self._draw.max_tokens <= self._room
                self._finish(piece, EndReason.MAX_TOKENS if short else EndReason.CONTEXT_FULL)
            elif self._tokens - begin < count:
                self._finish(piece, EndReason.STOP)
        piece.tokens = self._tokens - begin
        return piece

    def _add(self, piece: Piece, token: int, probability: float, could: Sequence[Odds]) -> None:
        draw = self._draw
        text = self._characters.feed((token,))
        if self._stops is not None:
            released = self._stops.feed(text)
            text = released.text
            if released.matched:
                self.end = self._ended(EndReason.STOP_SEQUENCE, released.matched)
        piece.text += text
        if draw.token_ids:
            piece.token_ids.append(token)
        if draw.logprobs:
            piece.logprobs.append(log(probability))
            if draw.top_logprobs:
                piece.top.append(_top(token, could, draw.top_logprobs))

    def _finish(self, piece: Piece, reason: EndReason, matched: str = "") -> None:
        if self._stops is not None:
            piece.text += self._stops.rest()
        self.end = self._ended(reason, matched)

    def _ended(self, reason: EndReason, matched: str) -> End:
        return End(reason, matched, len(self._draw.prompt_ids), self._cached, self._tokens)


def _top(token: int, could: Sequence[Odds], most: int) -> TopTokens:
    shown = could[:most] or (Odds(token, 1.0, 0),)
    return TopTokens(
        tuple(one.token for one in shown),
        tuple(log(one.probability) for one in shown),
        tuple(text_of([one.token]) for one in shown),
    )
