"""Approach features: how a program goes about its task, whatever it is written like.

Each feature is one observation (a kind of loop, a data structure, a library call, recursion, a hint at the
complexity class) with a weight by how much it says about the approach: every program assigns and returns,
few keep a heap.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Hashable, Iterator
from itertools import pairwise

from .naming import Names
from .tokens import KEYWORDS, words
from .traits import MAKERS, Observation, traits

_WEIGHTS = {
    "flow": 1.0,
    "nest": 1.5,
    "structure": 1.5,
    "library": 2.0,
    "method": 1.2,
    "builtin": 1.2,
    "recursion": 3.0,
    "hint": 2.5,
    "style": 1.2,
    "operator": 0.8,
    "word": 1.0,
}
_ORDINARY = {("flow", "if"): 0.4, ("flow", "for"): 0.4}
_MOST_COUNTED = 4

_IMPORTS = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+import|import\s+(?:static\s+)?([\w.]+)|#\s*include\s*[<\"]([\w./]+)|use\s+([\w:]+))",
    re.MULTILINE,
)
_FLOW = {"for": "for", "while": "while", "if": "if", "try": "try", "break": "break", "match": "match"}
_STYLE = {"lambda": "lambda", "yield": "generator", "class": "class"}
_LOOP_LINES = re.compile(r"^([ \t]*)(?:for|while)\b", re.MULTILINE)
_SIGNS = {
    "+": "Add",
    "-": "Sub",
    "*": "Mult",
    "/": "Div",
    "//": "FloorDiv",
    "%": "Mod",
    "**": "Pow",
    ">>": "RShift",
}
_OPERATORS = (
    _SIGNS | {sign + "=": name for sign, name in _SIGNS.items()} | {"++": "Add", "--": "Sub", "in": "in"}
)
_DEFINES = frozenset({"def", "func", "fn", "function"})


def approach(tree: ast.Module, names: Names) -> dict[Hashable, float]:
    """Weighted features of a pruned module."""
    return _weighted(traits(tree, names))


def approach_of_tokens(code: str, tokens: list[str]) -> dict[Hashable, float]:
    """The same features as far as they show without a tree: for broken code and other languages."""
    seen: Counter[Observation] = Counter(_nesting(code))
    for groups in _IMPORTS.findall(code):
        seen["library", next(name for name in groups if name)] += 1
    own = {name for before, name in pairwise(tokens) if before in _DEFINES}
    for before, token, after in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if token in _FLOW:
            seen["flow", _FLOW[token]] += 1
        elif token in _STYLE:
            seen["style", _STYLE[token]] += 1
        elif token in _OPERATORS:
            seen["operator", _OPERATORS[token]] += 1
            if token in {"//", "//=", ">>", ">>="} and after in {"1", "2"}:
                seen["hint", "halves"] += 1
        elif token == "[":
            if before not in {")", "]"} and not before.isidentifier():
                seen["structure", "list"] += 1
        elif after == "(" and token.isidentifier() and token not in KEYWORDS and before not in _DEFINES:
            seen[_called(token, before, own)] += 1
    return _weighted(seen)


def _nesting(code: str) -> Iterator[Observation]:
    """Depth of each loop, told from the indentation of the line that opens it."""
    around: list[int] = []
    for line in _LOOP_LINES.finditer(code):
        indent = len(line[1].expandtabs(4))
        while around and around[-1] >= indent:
            around.pop()
        around.append(indent)
        yield "nest", f"loop{min(len(around), 4)}"


def _called(name: str, before: str, own: set[str]) -> Observation:
    if name in own:
        return "recursion", "direct"
    if before == ".":
        return "method", name
    return ("structure", name) if name in MAKERS else ("builtin", name)


def approach_of_words(text: str) -> dict[Hashable, float]:
    """For an answer without code: the words it uses, longer ones as the ones that carry it."""
    return _weighted(Counter(("word", word) for word in words(text) if len(word) > 3))


def _weighted(seen: Counter[Observation]) -> dict[Hashable, float]:
    """Counts matter little: a second loop says less than the first."""
    return {
        observation: _WEIGHTS[observation[0]]
        * _ORDINARY.get(observation, 1.0)
        * min(count, _MOST_COUNTED) ** 0.25
        for observation, count in seen.items()
    }
