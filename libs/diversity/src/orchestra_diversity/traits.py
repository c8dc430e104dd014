"""Observations about how a parsed program goes about its task: flow, data structures, libraries, hints."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable

from .naming import Names
from .parsing import children

Observation = tuple[str, str]
MAKERS = frozenset({"list", "dict", "set", "tuple", "frozenset", "bytearray", "bytes"})
_DEEPEST = 4
_DEEPENING = frozenset(
    {ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp}
)


def traits(tree: ast.Module, names: Names) -> Counter[Observation]:
    """Counts of observations over a pruned module."""
    observer = _Observer(names)
    watch = observer.by_kind.get
    stack: list[tuple[ast.AST, int, str]] = [(tree, 0, "")]
    while stack:
        node, depth, function = stack.pop()
        kind = type(node)
        look = watch(kind)
        if look is not None:
            look(node, depth, function)
        if kind in _DEEPENING:
            depth += 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function, depth = node.name, 0
        stack.extend([(child, depth, function) for child in children(node)])
    return observer.seen


class _Observer:
    """One method per kind of node. `depth` counts the loops around the node inside its `function`."""

    def __init__(self, names: Names) -> None:
        self.seen: Counter[Observation] = Counter()
        self._names = names
        self.by_kind: dict[type, Callable[..., None]] = {
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.If: self._plain("flow", "if"),
            ast.Try: self._plain("flow", "try"),
            ast.Break: self._plain("flow", "break"),
            ast.Match: self._plain("flow", "match"),
            ast.Return: self._return,
            ast.ListComp: self._comprehension("list"),
            ast.SetComp: self._comprehension("set"),
            ast.DictComp: self._comprehension("dict"),
            ast.GeneratorExp: self._comprehension(None),
            ast.List: self._plain("structure", "list"),
            ast.Dict: self._plain("structure", "dict"),
            ast.Set: self._plain("structure", "set"),
            ast.Tuple: self._tuple,
            ast.Lambda: self._plain("style", "lambda"),
            ast.Yield: self._plain("style", "generator"),
            ast.YieldFrom: self._plain("style", "generator"),
            ast.ClassDef: self._plain("style", "class"),
            ast.FunctionDef: self._function,
            ast.Call: self._call,
            ast.Subscript: self._subscript,
            ast.BinOp: self._binary,
            ast.AugAssign: self._augmented,
            ast.Compare: self._compare,
            ast.Attribute: self._imported,
            ast.Name: self._imported,
        }

    def _see(self, area: str, what: str) -> None:
        self.seen[area, what] += 1

    def _plain(self, area: str, what: str) -> Callable[..., None]:
        def look(node: ast.AST, depth: int, function: str) -> None:
            self._see(area, what)

        return look

    def _nested(self, loops: int) -> None:
        self._see("nest", f"loop{min(loops, _DEEPEST)}")

    def _for(self, node: ast.For, depth: int, function: str) -> None:
        self._see("flow", "for")
        self._nested(depth + 1)

    def _while(self, node: ast.While, depth: int, function: str) -> None:
        self._see("flow", "while")
        self._nested(depth + 1)
        match node.test:
            case ast.Constant():
                self._see("hint", "endless loop with exit")
            case ast.Compare(
                left=ast.Name(), ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE()], comparators=[ast.Name()]
            ):
                self._see("hint", "two bounds closing in")
            case ast.Name():
                self._see("hint", "until empty")

    def _return(self, node: ast.Return, depth: int, function: str) -> None:
        if depth:
            self._see("flow", "return inside a loop")

    def _comprehension(self, structure: str | None) -> Callable[..., None]:
        def look(node: ast.ListComp, depth: int, function: str) -> None:
            self._see("style", "comprehension")
            self._nested(depth + len(node.generators))
            if structure is not None:
                self._see("structure", structure)

        return look

    def _tuple(self, node: ast.Tuple, depth: int, function: str) -> None:
        if not isinstance(node.ctx, ast.Store):
            self._see("structure", "tuple")

    def _function(self, node: ast.FunctionDef, depth: int, function: str) -> None:
        if any("cache" in ast.unparse(decorator) for decorator in node.decorator_list):
            self._see("hint", "memoised")

    def _call(self, node: ast.Call, depth: int, function: str) -> None:
        called = node.func
        if isinstance(called, ast.Name):
            name = called.id
            if name == function:
                self._recurse(depth)
            elif name in MAKERS and name not in self._names.own:
                self._see("structure", name)
            elif name not in self._names.own and name not in self._names.imported:
                self._see("builtin", name)
                if name == "sorted":
                    self._see("hint", "sorts")
        elif isinstance(called, ast.Attribute):
            name = called.attr
            if name == function:
                self._recurse(depth)
            elif name not in self._names.attributes and self._names.origin(called) is None:
                self._see("method", name)
                if name == "sort":
                    self._see("hint", "sorts")
                elif name == "popleft" or (name == "pop" and _is_zero(node.args)):
                    self._see("structure", "queue")

    def _recurse(self, depth: int) -> None:
        self._see("recursion", "direct")
        if depth:
            self._see("recursion", "branching")

    def _subscript(self, node: ast.Subscript, depth: int, function: str) -> None:
        if isinstance(node.slice, ast.Slice):
            self._see("structure", "slice" if node.slice.step is None else "stepped slice")
        elif isinstance(node.value, ast.Subscript):
            self._see("structure", "nested index")

    def _binary(self, node: ast.BinOp, depth: int, function: str) -> None:
        self._arithmetic(node.op, node.right)

    def _augmented(self, node: ast.AugAssign, depth: int, function: str) -> None:
        self._arithmetic(node.op, node.value)

    def _arithmetic(self, operator: ast.operator, right: ast.expr) -> None:
        self._see("operator", type(operator).__name__)
        halving = isinstance(operator, ast.FloorDiv | ast.RShift)
        if halving and isinstance(right, ast.Constant) and right.value in (1, 2):
            self._see("hint", "halves")

    def _compare(self, node: ast.Compare, depth: int, function: str) -> None:
        if any(isinstance(operator, ast.In | ast.NotIn) for operator in node.ops):
            self._see("operator", "in")
            if depth:
                self._see("hint", "membership test in a loop")

    def _imported(self, node: ast.expr, depth: int, function: str) -> None:
        origin = self._names.origin(node)
        if origin is not None and "." in origin:
            self._see("library", origin)
            self._see("library", origin.partition(".")[0])


def _is_zero(arguments: list[ast.expr]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], ast.Constant) and arguments[0].value == 0
