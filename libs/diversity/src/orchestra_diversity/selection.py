"""Which m of n samples to keep. Plain Python: a caller can choose from a report without numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Protocol

Method = Literal["maxmin", "dpp"]
_EXHAUSTED = 1e-9


class Rows(Protocol):
    """Anything indexed by row and column: nested tuples, or a numpy array."""

    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> Sequence[float]: ...


def select_diverse(
    similarity: Rows, m: int, quality: Sequence[float] | None = None, method: Method = "maxmin"
) -> tuple[int, ...]:
    """Indices of the m most diverse samples in the order chosen; all n of them when m is larger.

    "maxmin" takes next whoever is farthest from its nearest chosen neighbour, times its quality. "dpp" takes
    next whoever adds most volume to the determinantal kernel q_i K_ij q_j, which weighs overlap with all the
    chosen. The first is the one of highest quality, and of lowest mean similarity among equals; further ties
    go to the lower index. Quality values are positive and finite. Raises ValueError for m < 1 or a wrong
    quality.
    """
    n = len(similarity)
    if m < 1:
        raise ValueError(f"at least one sample must be chosen, not {m}")
    worth = [1.0] * n if quality is None else [float(value) for value in quality]
    if len(worth) != n or not all(math.isfinite(value) and value > 0.0 for value in worth):
        raise ValueError(f"quality must be {n} positive finite numbers")
    alikeness = [math.fsum(similarity[i]) for i in range(n)]
    prefer = sorted(range(n), key=lambda i: (-worth[i], round(alikeness[i], 9), i))
    choose = _maxmin if method == "maxmin" else _dpp
    return tuple(choose(similarity, min(m, n), worth, prefer))


def _maxmin(similarity: Rows, m: int, worth: list[float], prefer: list[int]) -> list[int]:
    chosen = prefer[:1]
    row = similarity[chosen[0]]
    nearest = [1.0 - row[i] for i in range(len(worth))]
    while len(chosen) < m:
        left = [i for i in prefer if i not in chosen]
        best = max(left, key=lambda i: max(nearest[i], 0.0) * worth[i])
        chosen.append(best)
        row = similarity[best]
        nearest = [min(distance, 1.0 - row[i]) for i, distance in enumerate(nearest)]
    return chosen


def _dpp(similarity: Rows, m: int, worth: list[float], prefer: list[int]) -> list[int]:
    """Greedy maximum a posteriori by incremental Cholesky rows; when no volume is left, by preference."""
    n = len(worth)
    gains = [worth[i] * worth[i] * similarity[i][i] for i in range(n)]
    rows: list[list[float]] = []
    chosen: list[int] = []
    while len(chosen) < m:
        left = [i for i in prefer if i not in chosen]
        best = max(left, key=lambda i: gains[i])
        if gains[best] <= _EXHAUSTED * worth[best] ** 2:
            return chosen + left[: m - len(chosen)]
        pivot = math.sqrt(gains[best])
        added = [
            (worth[best] * similarity[best][i] * worth[i] - sum(row[best] * row[i] for row in rows)) / pivot
            for i in range(n)
        ]
        rows.append(added)
        gains = [gain - value * value for gain, value in zip(gains, added, strict=True)]
        chosen.append(best)
    return chosen
