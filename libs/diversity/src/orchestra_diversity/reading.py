"""Reads one sample: takes its code out and turns it into the features of every measure."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from .approach import approach, approach_of_tokens, approach_of_words
from .extract import extract_code, unparsed_code
from .fingerprint import fingerprint
from .lexical import lexical_features
from .naming import collect_names
from .parsing import PYTHON, Unparsable, parse, walk
from .pruning import Span, prune
from .samples import Extract, Form, Reading, Sample
from .tokens import code_tokens, ngrams, shape, words

Vector = dict[Hashable, float]
_SHAPE_ORDERS = (2, 4)
_TREE_SHARE = 0.75
_MARKS_OF_CODE = frozenset("=(){}[];<>+*/%|&") | {
    "==",
    "=>",
    "->",
    ":=",
    "+=",
    "-=",
    "<=",
    ">=",
    "!=",
    "::",
    "++",
}
_LEAST_CODE = 0.12


@dataclass(frozen=True, slots=True)
class Read:
    """A sample's reading with its feature vectors; structural ones are weighted, none is negative."""

    reading: Reading
    tokens: list[str]
    lexical: Vector
    syntactic: Vector
    approach: Vector


def read(sample: Sample, forbidden: str | None = None) -> Read:
    """Features of one sample. `forbidden` gives a reason not to parse it, which the reading then states."""
    if forbidden is not None:
        return _by_tokens(unparsed_code(sample.text, sample.language), forbidden)
    found = extract_code(sample.text, sample.language)
    if found.language is not None and found.language.lower() not in PYTHON:
        return _by_tokens(found, f"no parser for {found.language}")
    if not found.code.strip():
        return _by_tokens(found, "the answer holds no text")
    try:
        tree = parse(found.code)
        if found.how == "whole" and not _looks_like_code(code_tokens(found.code)):
            return _by_tokens(found, "the answer holds no code")
        return _by_tree(found, tree)
    except Unparsable as error:
        return _by_tokens(found, error.reason)
    except RecursionError:
        return _by_tokens(found, "nested too deep to walk")


def _by_tree(found: Extract, tree: ast.Module) -> Read:
    spans = prune(tree)
    names = collect_names(walk(tree))
    subtrees = fingerprint(tree, names)
    traits = approach(tree, names)
    tokens = code_tokens(found.code, "python")
    shapes = _shape_features(shape(code_tokens(_without(found.code, spans), "python")))
    syntactic = _scaled(subtrees, _TREE_SHARE) | _scaled(shapes, 1.0 - _TREE_SHARE)
    return Read(_reading(found, "ast", None), tokens, lexical_features(tokens), syntactic, traits)


def _by_tokens(found: Extract, problem: str) -> Read:
    tokens = code_tokens(found.code, found.language)
    if found.how == "whole" and not _looks_like_code(tokens):
        tokens = words(found.code)
        reading = _reading(found, "words", problem)
        return Read(
            reading, tokens, lexical_features(tokens), _shape_features(tokens), approach_of_words(found.code)
        )
    shapes = _shape_features(shape(tokens))
    reading = _reading(found, "tokens", problem)
    return Read(reading, tokens, lexical_features(tokens), shapes, approach_of_tokens(found.code, tokens))


def _reading(found: Extract, form: Form, problem: str | None) -> Reading:
    return Reading(found.how, found.language, form, found.code, problem)


def _shape_features(tokens: list[str]) -> Vector:
    features: Counter[Hashable] = Counter()
    for order in _SHAPE_ORDERS:
        features.update(ngrams(tokens, order))
    return {feature: count**0.5 for feature, count in features.items()}


def _scaled(vector: Vector, share: float) -> Vector:
    """The vector with its squared length set to `share`."""
    length = math.sqrt(sum(value * value for value in vector.values()) / share)
    return {feature: value / length for feature, value in vector.items()}


def _without(code: str, spans: list[Span]) -> str:
    gone = {line for first, last in spans for line in range(first, last + 1)}
    if not gone:
        return code
    return "\n".join(line for number, line in enumerate(code.split("\n"), 1) if number not in gone)


def _looks_like_code(tokens: list[str]) -> bool:
    marks = sum(token in _MARKS_OF_CODE for token in tokens)
    return bool(tokens) and marks / len(tokens) >= _LEAST_CODE
