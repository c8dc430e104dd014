"""One way to parse Python that raises one kind of error whatever the text holds."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

PYTHON = frozenset({"python", "py", "python3", "py3", "pycon", "ipython"})


class Unparsable(Exception):
    """The text is no Python that can be read here. `line` is where (1-based), None when that is unknown."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def parse(code: str) -> ast.Module:
    """The module's tree; raises Unparsable for a syntax error, too deep nesting or characters Python
    refuses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except SyntaxError as error:
        place = f" in line {error.lineno}" if error.lineno else ""
        raise Unparsable(f"syntax error{place}: {error.msg}", error.lineno) from None
    except (RecursionError, MemoryError):
        raise Unparsable("nested too deep or too large to parse") from None
    except ValueError as error:
        raise Unparsable(f"not source text: {error}") from None


def children(node: ast.AST) -> list[ast.AST]:
    """Child nodes but for those that say nothing by being there (contexts, operators).

    Reads the fields from the instance: several times faster than ast.iter_child_nodes.
    """
    found: list[ast.AST] = []
    for value in node.__dict__.values():
        if isinstance(value, list):
            found.extend([item for item in value if isinstance(item, ast.AST)])
        elif isinstance(value, ast.AST) and value._fields:
            found.append(value)
    return found


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that `children` reaches, parents first."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(children(node))
