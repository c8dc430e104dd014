"""What each model adds to a set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .kernels import checked, effective_number
from .samples import ModelContribution


def marginal_contributions(similarity: ArrayLike, models: Sequence[str]) -> tuple[ModelContribution, ...]:
    """Per model, in order of first appearance: its samples, their own effective number, and what leaving it
    out costs."""
    matrix = checked(similarity)
    if len(models) != matrix.shape[0]:
        raise ValueError(f"{matrix.shape[0]} samples need as many models, not {len(models)}")
    whole = effective_number(matrix)
    labels = np.array(models, dtype=object)
    contributions = []
    for model in dict.fromkeys(models):
        own = labels == model
        rest = ~own
        without = effective_number(matrix[np.ix_(rest, rest)]) if rest.any() else 0.0
        alone = effective_number(matrix[np.ix_(own, own)])
        contributions.append(ModelContribution(model, int(own.sum()), alone, whole - without))
    return tuple(contributions)
