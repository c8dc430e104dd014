"""How likely a token was where it was drawn, after everything that the request set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestra_inference_node.domain.drawing import Draw


def after_processors(logits: NDArray[Any], draw: Draw) -> NDArray[np.float64]:
    """Logprobs [vocabulary] as the engine samples: top_k, then the temperature, then top_p; minus infinity
    for what cannot come. `logits` have the penalties already. At temperature 0 one token is certain.
    """
    values = logits.astype(np.float64)
    if draw.temperature == 0:
        certain = np.full(len(values), -np.inf)
        certain[values.argmax()] = 0.0
        return certain
    if 0 < draw.top_k < len(values):
        least = np.partition(values, -draw.top_k)[-draw.top_k]
        values = np.where(values >= least, values, -np.inf)
    logprobs = _log_softmax(values / draw.temperature)
    if draw.top_p >= 1:
        return logprobs
    order = np.argsort(-logprobs, kind="stable")
    before = np.cumsum(np.exp(logprobs[order])) - np.exp(logprobs[order])
    # the one that crosses the bound is in
    cut = order[before >= draw.top_p]
    logprobs[cut] = -np.inf
    return _log_softmax(logprobs)


def most_likely(logprobs: NDArray[np.float64], count: int) -> list[int]:
    """Ids of the most likely tokens that can come, the likeliest first."""
    order = np.argsort(-logprobs, kind="stable")[:count]
    return [int(one) for one in order if np.isfinite(logprobs[one])]


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = values - values.max()
    out: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return out
