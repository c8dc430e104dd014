"""Programs that differ, and disguises under which they stay the same."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Programs = dict[str, dict[str, str]]
Disguise = Callable[[str], str]


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Task -> algorithm -> source: five algorithms for each task."""
    folder = Path(__file__).parent / "programs"
    return {
        task.name: {file.name.removesuffix(".py.txt"): file.read_text() for file in sorted(task.iterdir())}
        for task in sorted(folder.iterdir())
    }


class _Renamer(ast.NodeTransformer):
    """Gives every name that the program chose a new one."""

    def __init__(self, tree: ast.Module) -> None:
        own = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        self.names = {name: f"renamed_{number}" for number, name in enumerate(sorted(own - {"self"}))}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        return node


def renamed(code: str) -> str:
    tree = ast.parse(code)
    return ast.unparse(_Renamer(tree).visit(tree)) + "\n"


def reformatted(code: str) -> str:
    """Other quotes, indentation, blank lines and brackets."""
    lines = []
    for line in ast.unparse(ast.parse(code)).split("\n"):
        bare = line.lstrip()
        if bare.startswith("return ") and "\n" not in bare:
            line = line.replace("return ", "return (", 1) + ")"
        lines += [line.replace("    ", "  "), ""]
    return "\n".join(lines)


def recommented(code: str) -> str:
    """A comment above every line and a docstring in every function."""
    lines = []
    for number, line in enumerate(ast.unparse(ast.parse(code)).split("\n")):
        indent = line[: len(line) - len(line.lstrip())]
        lines += [f"{indent}# step {number}: we now go on", line]
        if line.lstrip().startswith("def "):
            lines.append(f'{indent}    """Do the thing (see the task), with care: {number}."""')
    return "\n".join(lines)


def padded(code: str) -> str:
    """Dead code: unused values and imports, a branch never taken, statements after a return, an inner
    function."""
    lines = ["import os", "import collections as unused_alias", ""]
    for line in ast.unparse(ast.parse(code)).split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines.append(line)
        if line.lstrip().startswith("def "):
            block = """
                marker = 0
                marker = marker_two = [1, 2, 3]
                debug = False
                if False:
                    print("never seen")
                def not_called(x):
                    return x * 2
                pass
            """
            lines += textwrap.indent(
                textwrap.dedent(block).strip().replace("marker = marker_two", "other"), indent + "    "
            ).split("\n")
        if line.lstrip().startswith("return "):
            lines.append(f"{indent}print('after the end')")
    return "\n".join(lines)


DISGUISES: dict[str, Disguise] = {
    "renamed": renamed,
    "reformatted": reformatted,
    "recommented": recommented,
    "padded": padded,
    "all at once": lambda code: recommented(padded(renamed(code))),
}


@pytest.fixture(params=list(DISGUISES))
def disguise(request: pytest.FixtureRequest) -> Disguise:
    return DISGUISES[request.param]


@pytest.fixture(scope="session")
def disguises() -> list[Disguise]:
    return list(DISGUISES.values())
