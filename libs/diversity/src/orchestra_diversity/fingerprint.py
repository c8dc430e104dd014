"""Syntactic features: the subtrees of a program, blind to its choice of names.

Two programs are alike as far as they share subtrees. A name that the program chose is one placeholder inside
an expression; per statement the order in which its names recur is kept (`a, b, a` reads 0 1 0), so that
mixing up two variables shows and renaming them does not.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Hashable
from itertools import pairwise

from .naming import Names

_SKIPPED_FIELDS = frozenset(
    {"ctx", "type_comment", "annotation", "returns", "lineno", "type_ignores", "kind", "type_params"}
)
_MIRRORED: dict[type[ast.cmpop], str] = {ast.Gt: "Lt", ast.GtE: "LtE"}
_LARGEST = (
    16  # beyond this many nodes a subtree weighs no more: else one changed leaf would outweigh all the rest
)
_PLACEHOLDER = hash("own name")
Mark = tuple[int, int]  # hash and number of nodes


def fingerprint(tree: ast.Module, names: Names) -> dict[Hashable, float]:
    """Weighted subtree features of a pruned module. Raises RecursionError when nested too deep to walk."""
    walker = _Walker(names)
    walker.block(tree.body)
    return {feature: _weight(feature[1]) * count**0.5 for feature, count in walker.counts.items()}


def _weight(size: int) -> float:
    return math.sqrt(min(size, _LARGEST))


class _Walker:
    def __init__(self, names: Names) -> None:
        self.counts: Counter[tuple[int, int]] = Counter()
        self._names = names
        self._seen: list[str] = []
        self._special: dict[type, Callable[..., Mark]] = {
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.Attribute: self._attribute,
            ast.arg: self._arg,
            ast.keyword: self._keyword,
            ast.AugAssign: self._augmented,
            ast.AnnAssign: self._annotated,
            ast.Compare: self._compare,
            ast.Import: _nothing,
            ast.ImportFrom: _nothing,
        }

    def block(self, body: list[ast.stmt]) -> Mark:
        marks = [mark for mark in map(self._statement, body) if mark[1]]
        for first, second in pairwise(marks):
            self.counts[hash(("then", first[0], second[0])), 4] += 1
        return hash(tuple(mark[0] for mark in marks)), sum(mark[1] for mark in marks)

    def _statement(self, node: ast.stmt) -> Mark:
        start = len(self._seen)
        code, size = self._node(node)
        if size:
            order: dict[str, int] = {}
            recurrence = tuple(order.setdefault(name, len(order)) for name in self._seen[start:])
            self.counts[hash((code, recurrence)), size] += 1
        return code, size

    def _node(self, node: ast.AST) -> Mark:
        special = self._special.get(type(node))
        return special(node) if special else self._general(node)

    def _general(self, node: ast.AST) -> Mark:
        parts: list[int] = [hash(type(node).__name__)]
        size = 1
        for field in node._fields:
            if field in _SKIPPED_FIELDS:
                continue
            value = getattr(node, field, None)
            if isinstance(value, ast.AST):
                code, inside = self._node(value)
                parts.append(code)
                size += inside
            elif isinstance(value, list):
                if value and isinstance(value[0], ast.stmt):
                    code, inside = self.block(value)
                    parts.append(code)
                    size += inside
                    continue
                for item in value:
                    if isinstance(item, ast.AST):
                        code, inside = self._node(item)
                        parts.append(code)
                        size += inside
                parts.append(len(value))
        return self._counted(hash(tuple(parts)), size)

    def _counted(self, code: int, size: int) -> Mark:
        if size > 2:
            self.counts[code, size] += 1
        return code, size

    def _name(self, node: ast.Name) -> Mark:
        if node.id in self._names.own:
            self._seen.append(node.id)
            return _PLACEHOLDER, 1
        return hash(self._names.imported.get(node.id, node.id)), 1

    def _constant(self, node: ast.Constant) -> Mark:
        return hash((type(node.value).__name__, node.value)), 1

    def _attribute(self, node: ast.Attribute) -> Mark:
        origin = self._names.origin(node)
        if origin is not None:
            return hash(origin), 1
        code, size = self._node(node.value)
        attribute = "own" if node.attr in self._names.attributes else node.attr
        return self._counted(hash(("attribute", code, attribute)), size + 1)

    def _arg(self, node: ast.arg) -> Mark:
        self._seen.append(node.arg)
        return _PLACEHOLDER, 1

    def _keyword(self, node: ast.keyword) -> Mark:
        code, size = self._node(node.value)
        return hash(("keyword", "own" if node.arg in self._names.own else node.arg, code)), size

    def _augmented(self, node: ast.AugAssign) -> Mark:
        """`x += 1` reads as `x = x + 1`."""
        value = ast.BinOp(left=node.target, op=node.op, right=node.value)
        return self._general(ast.Assign(targets=[node.target], value=value))

    def _annotated(self, node: ast.AnnAssign) -> Mark:
        """`x: int = 1` reads as `x = 1`."""
        value = node.value or ast.Constant(value=None)
        return self._general(ast.Assign(targets=[node.target], value=value))

    def _compare(self, node: ast.Compare) -> Mark:
        """`a > b` reads as `b < a`."""
        mirrored = _MIRRORED.get(type(node.ops[0])) if len(node.ops) == 1 else None
        if mirrored is None:
            return self._general(node)
        right, left = self._node(node.comparators[0]), self._node(node.left)
        operator = hash((hash(mirrored),)), 1
        parts = (hash("Compare"), right[0], self._counted(*operator)[0], 1, left[0], 1)
        return self._counted(hash(parts), 1 + left[1] + right[1] + 1)


def _nothing(_: ast.AST) -> Mark:
    return 0, 0
