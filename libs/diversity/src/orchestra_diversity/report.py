"""From samples to a report. Parses in this process: give untrusted answers to `DiversityProcess` instead."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from .contribution import marginal_contributions
from .grouping import equal_groups, near_duplicates
from .kernels import Array, cosine, effective_number, mean_distance, semantic_kernel, tidy
from .lexical import lexical_figures
from .reading import Read, read
from .samples import DiversityReport, Measure, Sample

SYNTACTIC_SHARE = 0.6


def measure(samples: Sequence[Sample], embeddings: ArrayLike | None = None) -> DiversityReport:
    """The diversity of n >= 1 samples; `embeddings`, n vectors of one length, add the semantic measure.

    Raises ValueError for no samples or embeddings that do not fit. Never raises for what a sample says.
    """
    return measure_read(samples, [read(sample) for sample in samples], embeddings)


def measure_read(
    samples: Sequence[Sample], reads: Sequence[Read], embeddings: ArrayLike | None
) -> DiversityReport:
    """The same from samples already read."""
    if not samples:
        raise ValueError("diversity is a property of at least one sample")
    semantic = None if embeddings is None else semantic_kernel(embeddings, len(samples))
    syntactic = cosine([one.syntactic for one in reads])
    approach = cosine([one.approach for one in reads])
    combined = tidy(SYNTACTIC_SHARE * syntactic + (1.0 - SYNTACTIC_SHARE) * approach)
    codes = [one.reading.code for one in reads]
    return DiversityReport(
        readings=tuple(one.reading for one in reads),
        lexical=_measured(cosine([one.lexical for one in reads])),
        lexical_figures=lexical_figures([one.tokens for one in reads], codes),
        syntactic=_measured(syntactic),
        approach=_measured(approach),
        semantic=None if semantic is None else _measured(semantic),
        combined=_measured(combined),
        groups=near_duplicates(combined.tolist()),
        equal_texts=equal_groups([sample.text for sample in samples]),
        equal_codes=equal_groups(codes),
        models=marginal_contributions(combined, [sample.model for sample in samples]),
    )


def _measured(similarity: Array) -> Measure:
    rows = tuple(tuple(row) for row in similarity.tolist())
    return Measure(rows, effective_number(similarity), mean_distance(similarity))
