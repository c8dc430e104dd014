"""What our adapter asks of exllamav2, found in its source, and what of that the wheel does not have."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from exllamav2_sources import Class, Wheel, constants, said_by

# the adapter's names for the engine's objects, whose types no annotation says
OBJECTS = {
    "generator": "ExLlamaV2DynamicGenerator",
    "job": "ExLlamaV2DynamicJob",
    "sequence": "ExLlamaV2DynamicJob.Sequence",
    "model": "ExLlamaV2",
    "cache": "ExLlamaV2CacheBase",
    "tokenizer": "ExLlamaV2Tokenizer",
    "config": "ExLlamaV2Config",
}
# those whose names mean nothing else in files that do not import the engine
CLEAR = ("generator", "job", "sequence")
RESULTS = ("said", "part", "one")


@dataclass
class Uses:
    """Reads the modules of the adapter, by file name. `seen` is all that was held to the wheel."""

    modules: dict[str, ast.Module]
    wheel: Wheel
    seen: set[str] = field(default_factory=set)

    def wrong(self) -> Iterator[str]:
        """One line for each use that the wheel has no place for."""
        own = dict(self._subclasses())
        said = self._said()
        for file, tree in self.modules.items():
            names = self._imported(tree)
            reads = "said" in {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
            yield from (f"{file}: {one}" for one in self._missing_imports(tree))
            for node in ast.walk(tree):
                found: Iterable[str]
                if isinstance(node, ast.Call):
                    found = self._calls(node, self._classes(names, tree), bool(names))
                elif isinstance(node, ast.Attribute):
                    found = self._attribute(node, own, bool(names))
                elif isinstance(node, ast.ClassDef):
                    found = self._overrides(node, names)
                else:
                    found = self._results(node, said) if reads else ()
                yield from (f"{file}:{getattr(node, 'lineno', 0)}: {one}" for one in found)

    def keywords(self, call: ast.Call) -> list[str]:
        """Names that a call gives, also those that a function of ours returns for `**`."""
        found = []
        for keyword in call.keywords:
            if keyword.arg is not None:
                found.append(keyword.arg)
            elif isinstance(keyword.value, ast.Call):
                found += self._returned_keys(ast.unparse(keyword.value.func))
            else:
                found.append(f"**{ast.unparse(keyword.value)}, which cannot be read,")
        return found

    def _returned_keys(self, function: str) -> list[str]:
        for tree in self.modules.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name == function:
                    returned = next(one.value for one in ast.walk(node) if isinstance(one, ast.Return))
                    assert isinstance(returned, ast.Dict)
                    return [key.value for key in returned.keys if isinstance(key, ast.Constant)]
        return [f"**{function}(), which cannot be read,"]

    def _imported(self, tree: ast.Module) -> dict[str, str]:
        """Names of the engine's package in a module, by what they are called there."""
        return {
            one.asname or one.name: one.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "exllamav2"
            for one in node.names
        }

    def _missing_imports(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "exllamav2":
                for one in node.names:
                    self.seen.add(f"import {one.name}")
                    if not self.wheel.has(str(node.module), one.name):
                        yield f"{node.module} has no {one.name}"

    def _classes(self, names: dict[str, str], tree: ast.Module) -> dict[str, list[str]]:
        """Classes of the wheel that a name in the module may be: itself, a table of them, one taken from
        it."""
        found = {ours: [name] for ours, name in names.items() if name in self.wheel.classes}
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(values=values)):
                    listed = [
                        found[one.id][0] for one in values if isinstance(one, ast.Name) and one.id in found
                    ]
                    if listed:
                        found[name] = listed
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id=table))):
                    if table in found:
                        found[name] = found[table]
        return found

    def _calls(self, call: ast.Call, classes: dict[str, list[str]], imports: bool) -> Iterator[str]:
        outer, _, inner = ast.unparse(call.func).partition(".")
        for name in classes.get(outer, []):
            if not inner or inner in self.wheel.classes[name].inner:
                yield from self._call(call, f"{name}.{inner}".rstrip("."), "__init__")
        if isinstance(call.func, ast.Attribute) and (known := self._object(call.func.value, imports)):
            yield from self._call(call, known, call.func.attr)

    def _call(self, call: ast.Call, name: str, method: str) -> Iterator[str]:
        signature = self.wheel.signature(name, method)
        if signature is None:
            return
        given = self.keywords(call)
        self.seen.update(f"{name}.{method}({one}=)" for one in given)
        yield from (f"{name}.{method} takes no {one}" for one in given if one not in signature.names)
        if len(call.args) > signature.positional or any(isinstance(one, ast.Starred) for one in call.args):
            yield f"{name}.{method} takes {signature.positional} arguments by position"
        missing = set(signature.names[len(call.args) : signature.required]) - set(given)
        yield from (f"{name}.{method} needs {one}" for one in sorted(missing))

    def _object(self, receiver: ast.expr, imports: bool) -> str | None:
        """The class of what a method is called on, by its name."""
        last = ast.unparse(receiver).rpartition(".")[2].lstrip("_").removeprefix("draft_")
        return OBJECTS.get(last) if imports or last in CLEAR else None

    def _attribute(self, node: ast.Attribute, own: dict[str, Class], imports: bool) -> Iterator[str]:
        name = self._object(node.value, imports)
        if name is None:
            return
        self.seen.add(f"{name}.{node.attr}")
        ours = {one for added in own.values() if name in added.bases for one in added.attributes}
        if node.attr not in self.wheel.attributes(name) | ours:
            yield f"{name} has no {node.attr}"

    def _subclasses(self) -> Iterator[tuple[str, Class]]:
        for tree in self.modules.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and any(
                    base in self.wheel.classes for base in map(ast.unparse, node.bases)
                ):
                    yield node.name, Class.of(node)

    def _overrides(self, node: ast.ClassDef, names: dict[str, str]) -> Iterator[str]:
        """A class of ours that extends one of the wheel: its own methods, `super()` and what it reads of
        itself."""
        base = next((names[one] for one in map(ast.unparse, node.bases) if one in names), None)
        if base is None:
            return
        ours = Class.of(node)
        for method, signature in ours.methods.items():
            real = self.wheel.signature(base, method)
            if real is None or method == "__init__":
                continue
            self.seen.add(f"{base}.{method} overridden")
            if real.names != signature.names:
                yield f"{base}.{method} takes {real.names}, not {signature.names}"
        known = self.wheel.attributes(base) | ours.attributes
        for part in ast.walk(node):
            match part:
                case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=method)):
                    yield from self._call(part, base, method)
                case ast.Attribute(value=ast.Name(id="self"), attr=attribute) if attribute not in known:
                    yield f"{base} has no {attribute}"

    def _said(self) -> dict[str, set[Any]]:
        """What results may have: those of the wheel, and of jobs of ours that say something of themselves."""
        found = self.wheel.said()
        for tree in self.modules.values():
            if self._imported(tree):
                for key, values in said_by(tree, {"prefill"}).items():
                    found.setdefault(key, set()).update(values)
        return found

    def _results(self, node: ast.AST, said: dict[str, set[Any]]) -> Iterator[str]:
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if (
                name in RESULTS
            ):
                yield from self._key(key, said)
            case ast.Compare(left=ast.Constant(value=str(key)), comparators=[ast.Name(id=name)]):
                if name in RESULTS:
                    yield from self._key(key, said)
            case ast.Compare(left=ast.Subscript(slice=ast.Constant(value=str(key))), comparators=[value]):
                yield from self._value(key, list(constants(value)), said)
            case ast.Match(subject=ast.Subscript(slice=ast.Constant(value=str(key))), cases=cases):
                patterns = [one.pattern.value for one in cases if isinstance(one.pattern, ast.MatchValue)]
                yield from self._value(key, [value for one in patterns for value in constants(one)], said)

    def _key(self, key: str, said: dict[str, set[Any]]) -> Iterator[str]:
        self.seen.add(f"result {key}")
        if key not in said:
            yield f"no result has {key!r}"

    def _value(self, key: str, values: list[Any], said: dict[str, set[Any]]) -> Iterator[str]:
        self.seen.update(f"result {key}={value}" for value in values)
        yield from (f"{key} is never {value!r}" for value in values if value not in said.get(key, {value}))
