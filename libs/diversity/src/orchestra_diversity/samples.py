"""The values that go in and come out. Nothing here needs numpy, so a caller of the child process stays
light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Matrix = tuple[tuple[float, ...], ...]
How = Literal["fenced", "parsed", "whole"]
Form = Literal["ast", "tokens", "words"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer as the model gave it.

    `language` names the programming language when the caller knows it ("python", "java" …); None lets the
    answer's own fence say it, and Python is assumed when nothing does.
    """

    text: str
    model: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """The code of an answer: `how` it was found, and the `language` that the fence or the caller named."""

    code: str
    how: How
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How one sample was read.

    `form` says what the structural measures saw: "ast" (parsed Python), "tokens" (broken code, another
    language, or code that the reader was not allowed to parse) or "words" (no code at all). `problem` says
    why it was not an AST and is None exactly when it was.
    """

    how: How
    language: str | None
    form: Form
    code: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Measure:
    """One kernel over the set.

    `similarity` is n x n, symmetric, within [0, 1], ones on the diagonal. `effective_number` is its Vendi
    score, within [1, n]. `mean_distance` is the mean of 1 - similarity over the pairs; None when there is no
    pair.
    """

    similarity: Matrix
    effective_number: float
    mean_distance: float | None


@dataclass(frozen=True, slots=True)
class LexicalFigures:
    """Figures of the whole set, over code tokens.

    `distinct`: share of distinct n-grams among all, for n = 1 to 4 (None where no sample is that long).
    `self_bleu`: mean BLEU-4 of each sample against all others, 1.0 for copies; None for a single sample.
    `compression`: compressed size of the set over the sum of the samples' compressed sizes; near 1/n for
    copies, near 1 when nothing is shared.
    """

    distinct: tuple[float | None, float | None, float | None, float | None]
    self_bleu: float | None
    compression: float


@dataclass(frozen=True, slots=True)
class ModelContribution:
    """What one model adds, by the combined kernel.

    `marginal` is the effective number of the whole set minus that of the set without this model. It is
    negative when the model's samples repeat what others said, and the whole effective number when there is no
    other model.
    """

    model: str
    samples: int
    effective_number: float
    marginal: float


@dataclass(frozen=True, slots=True)
class DiversityReport:
    """Everything measured about one set of n samples; indices are positions in the given sequence.

    `semantic` is None when no embeddings were given: unmeasured, never zero. `combined` weighs syntactic and
    approach (see README for why lexical and semantic are not in it). `groups` partitions the set into
    near-duplicates by the combined kernel, `equal_texts` and `equal_codes` into exactly equal ones.
    """

    readings: tuple[Reading, ...]
    lexical: Measure
    lexical_figures: LexicalFigures
    syntactic: Measure
    approach: Measure
    semantic: Measure | None
    combined: Measure
    groups: tuple[tuple[int, ...], ...]
    equal_texts: tuple[tuple[int, ...], ...]
    equal_codes: tuple[tuple[int, ...], ...]
    models: tuple[ModelContribution, ...]
