"""YAML text to plain data that remembers where every value stood.

Scalars are read by YAML 1.2's core schema: only `true` and `false` are booleans, `12:30` is text. `${NAME}`
and `${NAME:-default}` are replaced inside scalars, and a plain scalar is typed after that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from .problems import Path, Problem, dotted

_RESOLVER: Any = yaml.resolver.Resolver()
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_OPENED = re.compile(r"\$\{[^}]*\}?")
_INT = re.compile(r"^[-+]?[0-9][0-9_]{0,40}$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MOST_VALUES = 200_000


@dataclass(slots=True)
class Document:
    """Plain data of one file. `places` gives line and column (from 1) of values, `keys` of mapping keys."""

    file: str
    data: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[Path] = field(default_factory=set)

    def report(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note a mistake at a path, or at its nearest parent that stands in the file."""
        line, column = (self.keys.get(path) if at_key else None) or self._place(path)
        self.problems.append(Problem(self.file, line, column, dotted(path), message))

    def _place(self, path: Path) -> tuple[int, int]:
        for end in range(len(path), -1, -1):
            if found := self.places.get(path[:end]):
                return found
        return (1, 1)


def read(text: str, file: str, environment: Mapping[str, str]) -> Document:
    """Parse one YAML document. Mistakes of syntax and environment are in `problems`; nothing is raised."""
    document = Document(file)
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        if any("${" in near for near in text.splitlines()[line - 1 : line]):
            what += "; a ${…} inside {…} or […] must be quoted"
        document.problems.append(Problem(file, line, column, "", f"not valid YAML: {what}"))
    except (yaml.YAMLError, ValueError) as error:
        document.problems.append(Problem(file, 1, 1, "", f"not valid YAML: {error}"))
    else:
        if root is not None:
            document.data = _Reader(document, environment).value(root, (), ())
    return document


class _Reader:
    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self._document = document
        self._environment = environment
        self._count = 0

    def value(self, node: Any, path: Path, parents: tuple[int, ...]) -> Any:
        document = self._document
        document.places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._count += 1
        if id(node) in parents or self._count > _MOST_VALUES:
            document.report(
                path, "an alias contains itself" if id(node) in parents else "far too many values"
            )
            document.unreadable.add(path)
            return None
        parents = (*parents, id(node))
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path, parents))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index), parents) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _entries(self, node: Any, path: Path, parents: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._document.report(path, "a key must be a plain word")
                continue
            key = str(key_node.value)
            if key in seen:
                self._document.problems.append(
                    Problem(
                        self._document.file,
                        *place,
                        dotted((*path, key)),
                        f"key stands twice, first in line {seen[key]}",
                    )
                )
                continue
            if key == "<<" and not key_node.style:
                self._document.report(path, "merge keys (<<) are not read; write the values out")
                continue
            seen[key] = place[0]
            self._document.keys[(*path, key)] = place
            yield key, self.value(value_node, (*path, key), parents)

    def _scalar(self, node: Any, path: Path) -> Any:
        if node.tag != _RESOLVER.resolve(yaml.ScalarNode, node.value, (not node.style, bool(node.style))):
            self._document.report(path, f"tags like {node.tag} are not read; quote what is text")
        text = self._interpolate(node.value, path)
        if text is None:
            self._document.unreadable.add(path)
            return None
        # A quoted or block scalar is text whatever it looks like.
        return text if node.style else typed(text)

    def _interpolate(self, text: str, path: Path) -> str | None:
        if "${" not in text:
            return text
        fine = True

        def replace(match: re.Match[str]) -> str:
            nonlocal fine
            whole = _VARIABLE.fullmatch(match[0])
            if whole is None:
                fine = False
                self._document.report(path, f"{match[0]!r} is neither ${{NAME}} nor ${{NAME:-default}}")
                return ""
            value = self._environment.get(whole[1], whole[2])
            if value is None:
                fine = False
                self._document.report(path, f"environment variable {whole[1]} is not set and has no default")
                return ""
            return value

        replaced = _OPENED.sub(replace, text)
        return replaced if fine else None


def typed(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar by YAML 1.2's core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _FLOAT.match(text):
        return float(text)
    return text
