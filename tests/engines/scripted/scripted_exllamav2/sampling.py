"""exllamav2's sampler, which is C++ on the host, in Python: same order, same ties, same draw for a random
number.

`test_sampling.py` holds it to what the compiled original gave. Settings that our adapter must leave neutral
raise when they are not.
"""

from __future__ import annotations

import heapq
from collections.abc import MutableSequence

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
_TOP_K_BY_HEAP = 500
_TINY = 1e-8


def apply_rep_penalty(
    sequence: torch.Tensor,
    penalty_max: float,
    sustain: int,
    decay: int,
    alpha_frequency: float,
    alpha_presence: float,
    logits: torch.Tensor,
) -> None:
    """Penalties, in place: repetition (a factor) and presence once a token, frequency as often as it was
    seen."""
    if decay:
        raise ValueError("token_repetition_decay is not scripted")
    for row, seen in zip(logits.view(-1, logits.shape[-1]).numpy(), sequence.numpy(), strict=True):
        recent = seen if sustain == -1 else seen[max(len(seen) - sustain, 0) :]
        ids, counts = np.unique(recent[recent < len(row)], return_counts=True)
        values = row[ids]
        values = np.where(values > 0, values / np.float32(penalty_max), values * np.float32(penalty_max))
        row[ids] = (
            values - np.float32(alpha_presence) - counts.astype(np.float32) * np.float32(alpha_frequency)
        )


def sample_basic(
    logits: torch.Tensor,
    temperature: float,
    top_k: int,
    top_p: float,
    top_a: float,
    min_p: float,
    tfs: float,
    typical: float,
    random: float,
    output_tokens: torch.Tensor,
    output_probs: torch.Tensor,
    output_kprobs: torch.Tensor,
    output_ktokens: torch.Tensor,
    logit_filter: torch.Tensor,
    mirostat: bool,
    mirostat_mu: list[float],
    mirostat_tau: float,
    mirostat_eta: float,
    post_temperature: float,
    xtc_mask: torch.Tensor,
    xtc_probability: float = 0.0,
    xtc_threshold: float = 0.1,
    min_temp: float = 0.0,
    max_temp: float = 0.0,
    temp_exponent: float = 1.0,
    smoothing_factor: float = 0.0,
    skew: float = 0.0,
) -> list[float]:
    """Draws one token a row at the point `random` of what temperature, top_k, top_p and min_p leave, in
    this order.

    Writes token and probability, and the most likely ones where they are asked for: a tensor on `meta` is
    none.
    """
    neutral = {
        "top_a": not top_a,
        "tfs": tfs in (0, 1),
        "typical": typical in (0, 1),
        "mirostat": not mirostat,
        "post_temperature": post_temperature == 1,
        "xtc_probability": not xtc_probability,
        "max_temp": max_temp <= min_temp,
        "smoothing_factor": not smoothing_factor,
        "skew": not skew,
    }
    if wrong := [name for name, is_neutral in neutral.items() if not is_neutral]:
        raise ValueError(f"not scripted: {', '.join(wrong)}")
    if len(logits) > 1:
        raise ValueError("not scripted: several sequences that are drawn from together")
    if temperature < 0.01:
        temperature, top_k = 1.0, 1
    allowed = None if logit_filter.is_meta else logit_filter.numpy()[0]
    probs, best = softmax(logits.view(-1).numpy(), temperature, allowed)
    ids = np.arange(len(probs))
    if 0 < top_k < len(probs):
        probs, ids = keep_top_k(probs, ids, top_k, best)
    if len(probs) > 1 and 0 < top_p < 1:
        probs, ids = keep_top_p(probs, ids, top_p)
    if len(probs) > 1 and 0 < min_p < 1:
        probs, ids = keep_above(probs, ids, np.float32(probs.max() * np.float32(min_p)))
    top = 0 if output_kprobs.is_meta else output_kprobs.shape[2]
    if top:
        sort_descending(probs, ids, top)
        write_top(probs, ids, output_kprobs[0, 0], output_ktokens[0, 0])
    # as the original does, so that probabilities that sum to a little less than 1 cover the point
    drawn = point(probs, np.float32(np.float32(random) * 0.9998))
    output_tokens[0, 0] = int(ids[drawn])
    output_probs[0, 0] = float(probs[drawn])
    return list(mirostat_mu)


def softmax(logits: Floats, temperature: float, allowed: NDArray[np.bool_] | None) -> tuple[Floats, int]:
    """Probabilities, and where the largest logit is."""
    shown = logits if allowed is None else np.where(allowed, logits, np.float32(-1e38))
    best = int(shown.argmax())
    powers = np.exp((shown - shown[best]) * np.float32(1.0 / temperature), dtype=np.float32)
    return (powers * (np.float32(1) / powers.sum())).astype(np.float32), best


def normalized(probs: list[np.float32]) -> Floats:
    kept = np.array(probs, np.float32)
    return (kept * (np.float32(1) / kept.sum())).astype(np.float32)


def keep_top_k(probs: Floats, ids: Ids, k: int, best: int) -> tuple[Floats, Ids]:
    """The most likely `k`, most likely first, as the original's heap orders equal ones."""
    if k == 1:
        return np.ones(1, np.float32), ids[[best]]
    if k > _TOP_K_BY_HEAP:
        probs, ids = probs.copy(), ids.copy()
        sort_descending(probs, ids, k)
        return normalized(list(probs[:k])), ids[:k]
    heap = list(zip(probs[:k], ids[:k].tolist(), strict=True))
    heapq.heapify(heap)
    for prob, token in zip(probs[k:], ids[k:].tolist(), strict=True):
        if prob > heap[0][0]:
            heapq.heapreplace(heap, (prob, token))
    return _unheaped(heap)


def keep_top_p(probs: Floats, ids: Ids, top_p: float) -> tuple[Floats, Ids]:
    """The most likely that together reach `top_p`, most likely first."""
    heap: list[tuple[np.float32, int]] = []
    total, limit = np.float32(0), np.float32(top_p)
    for prob, token in zip(probs, ids.tolist(), strict=True):
        if prob < np.float32(1e-6) or (total > limit and prob < heap[0][0]):
            continue
        heapq.heappush(heap, (prob, token))
        total += prob
        while total > limit and len(heap) > 1:
            total -= heapq.heappop(heap)[0]
    return _unheaped(heap)


def _unheaped(heap: list[tuple[np.float32, int]]) -> tuple[Floats, Ids]:
    heap.sort(reverse=True)
    return normalized([prob for prob, _ in heap]), np.array([token for _, token in heap], np.int64)


def keep_above(probs: Floats, ids: Ids, threshold: np.float32) -> tuple[Floats, Ids]:
    """What is at or over the threshold, in the order in which the original's swaps leave it."""
    order = list(range(len(probs)))
    i, j = 0, len(order) - 1
    while j >= i:
        while j >= i and probs[order[i]] >= threshold:
            i += 1
        if i < len(order) and probs[order[j]] >= threshold:
            order[i], order[j] = order[j], order[i]
            i += 1
        j -= 1
    return normalized([probs[one] for one in order[:i]]), ids[order[:i]]


def sort_descending(probs: Floats, ids: Ids, top: int) -> None:
    """In place, most likely first as far as `top`; beyond, as the original leaves it, which a draw goes
    through."""
    i, j = 0, len(probs) - 1
    while i <= j:
        if probs[j] < _TINY:
            j -= 1
        elif probs[i] >= _TINY:
            i += 1
        else:
            _swap(probs, ids, i, j)
            i, j = i + 1, j - 1
    _quicksort(probs, ids, 0, i - 1, top)


def _quicksort(probs: Floats, ids: Ids, low: int, high: int, top: int) -> None:
    if high - low <= 4:
        for end in range(high, low, -1):
            for at in range(low, end):
                if probs[at] < probs[at + 1]:
                    _swap(probs, ids, at, at + 1)
        return
    at = low - 1
    for j in range(low, high):
        if not probs[j] < probs[high]:
            at += 1
            _swap(probs, ids, at, j)
    _swap(probs, ids, at + 1, high)
    if low <= top:
        _quicksort(probs, ids, low, at, top)
    if at + 1 <= top:
        _quicksort(probs, ids, at + 2, high, top)


def _swap(probs: Floats, ids: Ids, i: int, j: int) -> None:
    for values in (probs, ids):
        values[[i, j]] = values[[j, i]]


def write_top(probs: Floats, ids: Ids, kprobs: torch.Tensor, ktokens: MutableSequence[int]) -> None:
    """The first of them; where there are fewer, other tokens of probability 0 fill up, as in the original."""
    listed = ids.tolist()
    spare = 0
    for at in range(len(kprobs)):
        if at < len(probs) and probs[at] > 0:
            kprobs[at], ktokens[at] = float(probs[at]), listed[at]
            continue
        k = 0
        while k < len(listed):
            # the original begins again behind its first candidate, and so may name that one twice
            spare, k = (spare + 1, 1) if listed[k] == spare else (spare, k + 1)
        kprobs[at], ktokens[at] = 0.0, spare
        spare += 1


def point(probs: Floats, random: np.float32) -> int:
    """Where the running sum reaches `random`; never one of probability 0 at the end."""
    sums = np.cumsum(probs, dtype=np.float32)
    reached = int(np.searchsorted(sums, random, side="left"))
    if reached < len(probs):
        return reached
    last = len(probs) - 1
    while last > 0 and probs[last] == 0:
        last -= 1
    return last
