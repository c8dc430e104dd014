"""Which of a few tokens is drawn, and how likely each was: the sampling settings over declared weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from orchestra_inference_node.domain.drawing import Draw


@dataclass(frozen=True, slots=True)
class Odds:
    """A token and its probability after all settings."""

    token: int
    probability: float
    way: int
    """Its place among what could be drawn."""


def odds(draw: Draw, tokens: Sequence[int], weights: Sequence[float], seen: Counter[int]) -> list[Odds]:
    """The tokens that can still be drawn, most likely first; the probabilities add up to 1.

    `seen` counts the tokens of prompt and answer so far.
    """
    logits = [
        _penalized(draw, log(weight), seen[token]) for token, weight in zip(tokens, weights, strict=True)
    ]
    order = sorted(range(len(tokens)), key=lambda at: (-logits[at], tokens[at]))
    if draw.temperature == 0:
        return [Odds(tokens[order[0]], 1.0, order[0])]
    if draw.top_k:
        order = order[: draw.top_k]
    highest = logits[order[0]]
    shares = [exp((logits[at] - highest) / draw.temperature) for at in order]
    kept = _nucleus(shares, draw.top_p)
    shares = [share for share in shares[:kept] if share >= draw.min_p * shares[0]]
    whole = sum(shares)
    return [Odds(tokens[at], share / whole, at) for at, share in zip(order, shares, strict=False)]


def _penalized(draw: Draw, logit: float, times: int) -> float:
    if not times:
        return logit
    logit = logit / draw.repetition_penalty if logit > 0 else logit * draw.repetition_penalty
    return logit - draw.presence_penalty - draw.frequency_penalty * times


def _nucleus(shares: Sequence[float], top_p: float) -> int:
    """How many of the most likely make up `top_p` of all."""
    bound, so_far = top_p * sum(shares), 0.0
    for count, share in enumerate(shares, start=1):
        so_far += share
        if so_far >= bound:
            return count
    return len(shares)


def penalizes(draw: Draw) -> bool:
    """Whether it matters what was said before."""
    return draw.repetition_penalty != 1 or draw.presence_penalty != 0 or draw.frequency_penalty != 0


def pick(found: Sequence[Odds], at: float) -> Odds:
    """The one whose span of the unit interval holds `at`."""
    so_far = 0.0
    for one in found:
        so_far += one.probability
        if at < so_far:
            return one
    return found[-1]
