"""Lexical measures: the very words of the code, names and all."""

from __future__ import annotations

import lzma
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from .samples import LexicalFigures
from .tokens import ngrams

_ORDERS = (1, 2, 3, 4)
_FILTER = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
Grams = Counter[tuple[str, ...]]


def lexical_features(tokens: Sequence[str]) -> dict[Hashable, float]:
    """Counts of 1- to 3-grams, each order scaled to length one so that their cosine is the mean over the
    orders."""
    features: dict[Hashable, float] = {}
    for order in _ORDERS[:3]:
        counts = ngrams(tokens, order)
        length = math.sqrt(sum(count * count for count in counts.values()))
        features.update((gram, count / length) for gram, count in counts.items())
    return features


def lexical_figures(token_lists: Sequence[Sequence[str]], codes: Sequence[str]) -> LexicalFigures:
    """distinct-n, self-BLEU and compression of a set; n-grams of one order at a time, to keep memory low."""
    distinct: list[float | None] = []
    precisions: list[list[float]] = [[] for _ in token_lists]
    for order in _ORDERS:
        counts = [ngrams(tokens, order) for tokens in token_lists]
        total = sum(map(Counter.total, counts))
        distinct.append(len(set().union(*counts)) / total if total else None)
        for scores, precision in zip(precisions, _log_precisions(counts, order), strict=True):
            if precision is not None:
                scores.append(precision)
    one, two, three, four = distinct
    self_bleu = _self_bleu([len(tokens) for tokens in token_lists], precisions)
    return LexicalFigures((one, two, three, four), self_bleu, compression(codes))


def _self_bleu(lengths: list[int], precisions: list[list[float]]) -> float | None:
    """Mean BLEU-4 of each sample with all others as references; None for fewer than two samples.

    Orders above the first are smoothed by adding one (Lin and Och), orders longer than the sample are left
    out; a sample without tokens scores 1.0 when another has none either, else 0.0.
    """
    n = len(lengths)
    if n < 2:
        return None
    total = 0.0
    for i, logs in enumerate(precisions):
        others = lengths[:i] + lengths[i + 1 :]
        if not logs:
            total += float(0 in others)
            continue
        nearest = min(others, key=lambda length: (abs(length - lengths[i]), length))
        brevity = min(0.0, 1.0 - nearest / lengths[i])
        total += math.exp(brevity + math.fsum(logs) / len(logs))
    return total / n


def _log_precisions(counts: Sequence[Grams], order: int) -> Iterator[float | None]:
    """Per sample: log of the share of its n-grams that some other sample holds as often; None when it has
    none."""
    highest: dict[tuple[str, ...], tuple[int, int, int]] = {}  # count, who holds it, the most of anybody else
    for owner, grams in enumerate(counts):
        for gram, count in grams.items():
            top, holder, second = highest.get(gram, (0, -1, 0))
            if count > top:
                highest[gram] = (count, owner, top)
            elif count > second:
                highest[gram] = (top, holder, count)
    for owner, grams in enumerate(counts):
        total = grams.total()
        if total == 0:
            yield None
            continue
        matched = 0
        for gram, count in grams.items():
            top, holder, second = highest[gram]
            matched += min(count, second if holder == owner else top)
        if order == 1:
            yield math.log(matched / total) if matched else -math.inf
        else:
            yield math.log((matched + 1) / (total + 1))


def compression(codes: Sequence[str]) -> float:
    """Compressed size of all samples together over the sum of their own compressed sizes, at most 1.0.

    The order of the samples does not matter.
    """
    data = sorted(code.encode("utf-8", "replace") for code in codes)
    alone = sum(map(_compressed, data))
    return min(1.0, _compressed(b"\n".join(data)) / alone)


def _compressed(data: bytes) -> int:
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=_FILTER))
