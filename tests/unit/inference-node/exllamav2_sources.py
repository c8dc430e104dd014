"""Python read as text: what exllamav2's wheel has, and what our adapter uses of it. Nothing is imported or
run."""

from __future__ import annotations

import ast
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Signature:
    """What a call may name, the receiver left out. `fields` of a dataclass stand for its constructor."""

    names: list[str]
    required: int
    positional: int

    @classmethod
    def of(cls, function: Function) -> Signature:
        given = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        bound = given[0] in ("self", "cls") if given else False
        given = given[1:] if bound else given
        named = [one.arg for one in function.args.kwonlyargs]
        return cls(given + named, len(given) - len(function.args.defaults), len(given))


@dataclass
class Class:
    """A class of the wheel with what it inherits from classes there."""

    name: str
    bases: list[str]
    methods: dict[str, Signature] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    inner: dict[str, Class] = field(default_factory=dict)

    @classmethod
    def of(cls, node: ast.ClassDef) -> Class:
        found = cls(node.name, [ast.unparse(base).rpartition(".")[2] for base in node.bases])
        fields = []
        for part in node.body:
            match part:
                case ast.FunctionDef():
                    found.methods[part.name] = Signature.of(part)
                    found.attributes.add(part.name)
                    found.attributes |= _set_on_self(part)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.attributes.add(name)
                    fields.append((name, part.value is None))
                case ast.Assign(targets=[ast.Name(id=name)]):
                    found.attributes.add(name)
                case ast.ClassDef():
                    found.inner[part.name] = cls.of(part)
                    found.attributes.add(part.name)
        if "dataclass" in [ast.unparse(one) for one in node.decorator_list]:
            names = [name for name, _ in fields]
            found.methods["__init__"] = Signature(names, sum(bare for _, bare in fields), len(names))
        return found


def _set_on_self(function: Function) -> set[str]:
    """Names that the function gives to its object."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }


class Wheel:
    """The installed package, from its wheel."""

    def __init__(self, file: Path) -> None:
        with zipfile.ZipFile(file) as archive:
            self.modules = {
                name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): ast.parse(
                    archive.read(name)
                )
                for name in archive.namelist()
                if name.startswith("exllamav2/") and name.endswith(".py")
            }
        self.classes = {
            node.name: Class.of(node)
            for tree in self.modules.values()
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        }

    def has(self, module: str, name: str) -> bool:
        """Whether `from module import name` works."""
        return f"{module}.{name}" in self.modules or name in self.names(module)

    def names(self, module: str) -> set[str]:
        """What a module has when it is imported."""
        found = set()
        for node in ast.walk(self.modules[module]):
            match node:
                case ast.Import() | ast.ImportFrom():
                    found |= {one.asname or one.name for one in node.names}
                case ast.ClassDef() | ast.FunctionDef():
                    found.add(node.name)
                case ast.Name(ctx=ast.Store()):
                    found.add(node.id)
        if f"{module}.__init__" in self.modules or any(
            name.startswith(f"{module}.") for name in self.modules
        ):
            found |= {name.split(".")[-1] for name in self.modules if name.rpartition(".")[0] == module}
        return found

    def line(self, name: str) -> list[Class]:
        """A class, then those that it inherits from; of an inner one by its dotted name."""
        outer, _, inner = name.partition(".")
        found = self.classes[outer].inner[inner] if inner else self.classes[outer]
        return [found, *(one for base in found.bases if base in self.classes for one in self.line(base))]

    def signature(self, name: str, method: str) -> Signature | None:
        """Of a method, the nearest."""
        return next((one.methods[method] for one in self.line(name) if method in one.methods), None)

    def attributes(self, name: str) -> set[str]:
        return {attribute for one in self.line(name) for attribute in one.attributes}

    def said(self) -> dict[str, set[Any]]:
        """Keys of the generator's results, each with the constants that it may have."""
        return said_by(self.modules["exllamav2.generator.dynamic"], {"emit", "iterate_start_jobs", "prefill"})


def said_by(tree: ast.AST, functions: set[str]) -> dict[str, set[Any]]:
    """Keys that dictionaries in these functions have, and the constants given for them or passed by their
    names."""
    found: dict[str, set[Any]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or function.name not in functions:
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant):
                        found.setdefault(key.value, set()).update(constants(value))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in functions:
            for keyword in call.keywords:
                if keyword.arg in found:
                    found[keyword.arg].update(constants(keyword.value))
    return found


def constants(node: ast.AST) -> Iterator[Any]:
    """Those that an expression may become."""
    match node:
        case ast.Constant(value=value):
            yield value
        case ast.IfExp():
            yield from constants(node.body)
            yield from constants(node.orelse)


def adapter_modules(folder: Path) -> dict[str, ast.Module]:
    return {file.name: ast.parse(file.read_text()) for file in sorted(folder.glob("*.py"))}
