"""Takes out of a tree what does not change what the program does, so that padding is not mistaken for
difference."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from .parsing import walk

_PURE = (
    "abs bool dict enumerate float frozenset int len list max min range reversed set sorted str sum tuple zip"
)
_PURE_CALLS = frozenset(_PURE.split())
_JUMPS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MOST_ROUNDS = 4
Span = tuple[int, int]


def prune(tree: ast.Module) -> list[Span]:
    """Removes dead code in place; returns the line spans (1-based, inclusive) of the statements that went.

    Gone are docstrings, statements without effect, branches that a constant rules out, what follows a jump,
    values, imports and inner functions never used, and the script's own `__main__` block beside definitions.
    Never empties a body: one `pass` stays.
    """
    pruner = _Pruner(tree)
    for _ in range(_MOST_ROUNDS):
        pruner.changed = False
        pruner.count_names(tree)
        tree.body = pruner.statements(tree.body, inner=False)
        if not pruner.changed:
            break
    return pruner.spans


class _Pruner:
    def __init__(self, tree: ast.Module) -> None:
        self.spans: list[Span] = []
        self.changed = False
        self._loads: Counter[str] = Counter()
        self._declared: set[str] = set()
        self._has_definitions = any(isinstance(statement, _DEFINITIONS) for statement in tree.body)

    def count_names(self, tree: ast.Module) -> None:
        self._loads.clear()
        for node in walk(tree):
            if isinstance(node, ast.Name):
                if not isinstance(node.ctx, ast.Store):
                    self._loads[node.id] += 1
            elif isinstance(node, ast.Global | ast.Nonlocal):
                self._declared.update(node.names)
            elif isinstance(node, ast.Assign) and _names_all(node):
                self._declared.update(_exported(node))

    def statements(self, body: list[ast.stmt], inner: bool) -> list[ast.stmt]:
        kept: list[ast.stmt] = []
        for statement in self._flattened(body):
            if kept and isinstance(kept[-1], _JUMPS):
                self._drop(statement)
                continue
            self._descend(statement, inner)
            if self._is_dead(statement, inner):
                self._drop(statement)
            else:
                kept.append(statement)
        if len(kept) > 1:
            for statement in [s for s in kept if isinstance(s, ast.Pass)][: len(kept) - 1]:
                kept.remove(statement)
        self._join_result(kept)
        return kept or [ast.Pass()]

    def _flattened(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            if not isinstance(statement, ast.If | ast.While) or (
                statement.orelse == [] and _truth(statement.test) is None
            ):
                yield statement
                continue
            truth = _truth(statement.test)
            if truth is False or (truth is True and isinstance(statement, ast.If)):
                self._unwrap(statement, truth)
                yield from self._flattened(statement.body if truth else statement.orelse)
            elif isinstance(statement, ast.If) and _leaves(statement.body):
                # `else` after a jump says the same as no `else`
                rest, statement.orelse = statement.orelse, []
                yield statement
                yield from self._flattened(rest)
            else:
                yield statement

    def _descend(self, statement: ast.stmt, inner: bool) -> None:
        inside = inner or isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
        for field in ("body", "orelse", "finalbody"):
            block = getattr(statement, field, None)
            if block:
                pruned = self.statements(block, inside)
                empty = field != "body" and all(isinstance(s, ast.Pass) for s in pruned)
                setattr(statement, field, [] if empty and not isinstance(statement, ast.Try) else pruned)
        for handler in getattr(statement, "handlers", ()):
            handler.body = self.statements(handler.body, inside)
        for case in getattr(statement, "cases", ()):
            case.body = self.statements(case.body, inside)

    def _is_dead(self, statement: ast.stmt, inner: bool) -> bool:
        match statement:
            case ast.Expr(value=value):
                return _pure(value)
            case ast.Assert(test=test):
                return _truth(test) is True
            case ast.AnnAssign(value=None):
                return True
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                itself = isinstance(value, ast.Name) and value.id == name
                return itself or (self._unused(name) and _pure(value) and (inner or self._has_definitions))
            case ast.AugAssign(target=ast.Name(id=name), value=value):
                return inner and self._unused(name) and _pure(value)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                return self._has_definitions and all(self._unused(_bound(alias)) for alias in names)
            case ast.FunctionDef(name=name, decorator_list=[]) | ast.ClassDef(name=name, decorator_list=[]):
                return self._unused(name) and (inner or (name.startswith("_") and not name.startswith("__")))
            case ast.If(test=test, body=body, orelse=[]):
                script = self._has_definitions and not inner and _asks_main(test)
                return script or (_idle(body) and _pure(test))
            case ast.For(iter=source, body=body, orelse=[]):
                return _idle(body) and _pure(source)
        return False

    def _unused(self, name: str) -> bool:
        return self._loads[name] == 0 and name not in self._declared and name != "*"

    def _join_result(self, body: list[ast.stmt]) -> None:
        """`x = e; return x` becomes `return e`."""
        if len(body) < 2:
            return
        match body[-2:]:
            case [
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value),
                ast.Return(value=ast.Name(id=returned)),
            ] if name == returned and self._loads[name] == 1 and name not in self._declared:
                body[-2:] = [ast.copy_location(ast.Return(value=value), body[-2])]

    def _drop(self, statement: ast.stmt) -> None:
        self.changed = True
        self.spans.append((statement.lineno, statement.end_lineno or statement.lineno))

    def _unwrap(self, statement: ast.If | ast.While, kept: bool) -> None:
        """The test goes, and the branch that it rules out."""
        self.changed = True
        body = statement.body
        last = body[0].lineno - 1 if kept else body[-1].end_lineno or body[-1].lineno
        self.spans.append((statement.lineno, last))
        if kept and statement.orelse:
            self.spans.append((statement.orelse[0].lineno, statement.end_lineno or statement.lineno))


def _truth(test: ast.expr) -> bool | None:
    """What a test always says, None when it depends."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inside = _truth(test.operand)
        return None if inside is None else not inside
    return None


def _pure(value: ast.expr) -> bool:
    for node in walk(value):
        if isinstance(node, ast.Call):
            if not (isinstance(node.func, ast.Name) and node.func.id in _PURE_CALLS):
                return False
        elif isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
    return True


def _leaves(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], _JUMPS)


def _idle(body: list[ast.stmt]) -> bool:
    return all(isinstance(statement, ast.Pass) for statement in body)


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _asks_main(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _names_all(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


def _exported(node: ast.Assign) -> set[str]:
    return {
        item.value
        for item in ast.walk(node.value)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    }
