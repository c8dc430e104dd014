"""From what an encoder says of every token to one vector of a text. Shapes in brackets."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
_SMALLEST = 1e-12


def pooled(states: NDArray[Any], mask: NDArray[Any], how: str) -> Floats:
    """One vector [width] for each text, from states [texts, tokens, width] and a mask [texts, tokens] that
    is 1 where there is a token. Texts begin at the first column.

    `how`: the mean of all tokens, the first one (cls), or the last one.
    """
    if how == "cls":
        return np.asarray(states[:, 0], np.float32)
    if how == "last":
        return np.asarray(states[np.arange(len(states)), mask.sum(axis=1) - 1], np.float32)
    weights = mask[..., None].astype(np.float32)
    return np.asarray((states.astype(np.float32) * weights).sum(axis=1) / weights.sum(axis=1), np.float32)


def unit(vectors: NDArray[Any]) -> Floats:
    """The vectors [texts, width] at length one."""
    exact = vectors.astype(np.float32)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.asarray(exact / np.maximum(lengths, _SMALLEST), np.float32)
