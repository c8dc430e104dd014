"""Which names of a program are its own choice, and which mean something outside it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Names:
    """`own`: variables, functions, classes and parameters the program names itself. `attributes`: members it
    gives its own classes. `imported`: local name to dotted origin, so that aliases and `from` imports read
    alike."""

    own: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    imported: dict[str, str] = field(default_factory=dict)

    def origin(self, node: ast.expr) -> str | None:
        """Dotted origin of an imported thing (`heapq.heappush`), None for anything else."""
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            root = self.imported.get(node.id)
            if root is not None and node.id not in self.own:
                return ".".join([root, *reversed(path)])
        return None


def collect_names(nodes: Iterable[ast.AST]) -> Names:
    """Names of a program from all nodes of its tree."""
    names = Names()
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.own.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.own.add(name)
            case ast.ClassDef(name=name, body=body):
                names.own.add(name)
                names.attributes.update(
                    member.name
                    for member in body
                    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
                )
            case ast.Attribute(attr=name, ctx=ast.Store()):
                names.attributes.add(name)
            case ast.Import(names=aliases):
                for alias in aliases:
                    bound = alias.asname or alias.name.partition(".")[0]
                    names.imported[bound] = alias.name if alias.asname else bound
            case ast.ImportFrom(module=module, names=aliases):
                for alias in aliases:
                    names.imported[alias.asname or alias.name] = f"{module or ''}.{alias.name}"
            case ast.ExceptHandler(name=str(name)):
                names.own.add(name)
    names.attributes = {name for name in names.attributes if not name.startswith("__")}
    return names
