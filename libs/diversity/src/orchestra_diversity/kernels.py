"""Similarity matrices and what is read off them. Every kernel built here is positive semidefinite."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
_FEATURES_AT_ONCE = 1 << 15


def cosine(vectors: Sequence[Mapping[Hashable, float]]) -> Array:
    """Cosine of sparse non-negative feature vectors: n x n within [0, 1]; an empty vector equals only an
    empty one.

    Memory stays bounded for any vocabulary: features of one sample only count towards its length, and the
    shared ones are summed a block at a time.
    """
    n = len(vectors)
    lengths = np.array([sum(value * value for value in vector.values()) for vector in vectors])
    seen: dict[Hashable, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, vector in enumerate(vectors):
        for feature, value in vector.items():
            rows.append(row)
            columns.append(seen.setdefault(feature, len(seen)))
            values.append(value)
    gram = _gram(n, len(seen), np.array(rows, int), np.array(columns, int), np.array(values, float))
    empty = lengths == 0.0
    scale = np.sqrt(np.where(empty, 1.0, lengths))
    similarity = gram / np.outer(scale, scale)
    similarity[np.outer(empty, empty)] = 1.0
    return tidy(similarity)


def _gram(n: int, size: int, rows: NDArray[np.int64], columns: NDArray[np.int64], values: Array) -> Array:
    holders = np.bincount(columns, minlength=size) if size else np.zeros(0, int)
    shared = holders > 1
    renumbered = np.cumsum(shared) - 1
    keep = shared[columns] if size else np.zeros(0, bool)
    rows, columns, values = rows[keep], renumbered[columns[keep]], values[keep]
    order = np.argsort(columns, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    gram = np.zeros((n, n))
    for start in range(0, int(shared.sum()), _FEATURES_AT_ONCE):
        low, high = np.searchsorted(columns, [start, start + _FEATURES_AT_ONCE])
        block = np.zeros((n, min(_FEATURES_AT_ONCE, int(shared.sum()) - start)))
        block[rows[low:high], columns[low:high] - start] = values[low:high]
        gram += block @ block.T
    return gram


def tidy(similarity: Array) -> Array:
    """Rounding noise off: exactly symmetric, within [0, 1], ones on the diagonal."""
    similarity = np.clip((similarity + similarity.T) / 2.0, 0.0, 1.0)
    np.fill_diagonal(similarity, 1.0)
    return similarity


def semantic_kernel(embeddings: ArrayLike, n: int) -> Array:
    """Cosine of the given n embeddings, opposite directions counted as unlike (0).

    Cutting negative cosines can make the matrix indefinite; then the diagonal is lifted by the smallest
    eigenvalue and everything rescaled, the least change that keeps it a kernel. Raises ValueError for a wrong
    shape, a zero vector or a value that is not finite.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or vectors.shape[0] != n or vectors.shape[1] == 0:
        raise ValueError(f"embeddings must be {n} vectors of one length, not of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("embeddings hold a value that is not finite")
    lengths = np.linalg.norm(vectors, axis=1)
    if (lengths == 0.0).any():
        raise ValueError(f"embedding {int(np.argmin(lengths))} has length zero")
    unit = vectors / lengths[:, None]
    similarity = tidy(unit @ unit.T)
    lift = -float(np.linalg.eigvalsh(similarity)[0])
    return tidy((similarity + lift * np.eye(n)) / (1.0 + lift)) if lift > 1e-9 else similarity


def checked(similarity: ArrayLike) -> Array:
    """The matrix as an array, or ValueError when it is no similarity matrix of at least one sample."""
    matrix = np.asarray(similarity, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"a similarity matrix is n x n with n >= 1, not of shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("the similarity matrix holds a value that is not finite")
    if not np.allclose(matrix, matrix.T, atol=1e-6) or not np.allclose(np.diag(matrix), 1.0, atol=1e-6):
        raise ValueError("a similarity matrix is symmetric with ones on its diagonal")
    return matrix


def effective_number(similarity: ArrayLike) -> float:
    """Vendi score: exp of the entropy of the eigenvalues of similarity / n. 1.0 for copies, n when nothing is
    alike."""
    matrix = checked(similarity)
    n = matrix.shape[0]
    spectrum = np.linalg.eigvalsh(matrix / n)
    spectrum = spectrum[spectrum > 0.0]
    entropy = -float((spectrum * np.log(spectrum)).sum())
    return float(min(max(np.exp(entropy), 1.0), n))


def mean_distance(similarity: ArrayLike) -> float | None:
    """Mean of 1 - similarity over the pairs, None when there is no pair."""
    matrix = checked(similarity)
    n = matrix.shape[0]
    return float(1.0 - (matrix.sum() - n) / (n * (n - 1))) if n > 1 else None
