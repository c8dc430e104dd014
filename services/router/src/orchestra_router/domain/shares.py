"""How n samples are spread over models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """`samples` of one model, whose indexes are first to first + samples - 1."""

    model: str
    samples: int
    first: int


def spread(models: Sequence[str], n: int) -> tuple[Share, ...]:
    """n samples over the models in turn: the first ones get one more. Models beyond n get none."""
    count = len(models)
    sizes = [n // count + (position < n % count) for position in range(count)] if count else []
    return planned(dict(zip(models, sizes, strict=True)))


def planned(plan: Mapping[str, int]) -> tuple[Share, ...]:
    """Shares of the given sizes, with indexes that follow each other; sizes of 0 are left out."""
    shares: list[Share] = []
    first = 0
    for model, samples in plan.items():
        if samples > 0:
            shares.append(Share(model, samples, first))
            first += samples
    return tuple(shares)
