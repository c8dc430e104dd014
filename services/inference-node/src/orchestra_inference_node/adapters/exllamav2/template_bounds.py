"""A sandbox for templates of unknown origin: beside what jinja2's own keeps from them, one that never ends or
that makes much of little is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from typing import Any

from jinja2 import TemplateError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_SECONDS = 2.0
MOST_CHARACTERS = 16 * 1024 * 1024
_MOST_ITEMS = 100_000
_MOST_BITS = 4096
_FILTERS_OUT = (
    "batch", "center", "filesizeformat", "format", "indent", "pprint", "random", "round", "slice", "urlize",
    "wordwrap", "xmlattr",
)  # fmt: skip
_METHODS_OUT = frozenset({
    "center", "expandtabs", "format", "format_map", "ljust", "maketrans", "rjust", "translate", "zfill",
})  # fmt: skip


class Refused(TemplateError):
    """The template refuses what it is given, or goes beyond its bounds."""


class Bounds:
    """What one rendering may still use."""

    def __init__(self) -> None:
        self._until = time.monotonic() + MOST_SECONDS
        self._left = MOST_CHARACTERS

    def tick(self) -> None:
        if time.monotonic() > self._until:
            raise Refused(f"it did not end within {MOST_SECONDS:g} s")

    def add(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise Refused(f"it makes more than {MOST_CHARACTERS} characters")


bounds: ContextVar[Bounds] = ContextVar("bounds of the template")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Renders only where `bounds` is set."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in _FILTERS_OUT:
            del self.filters[name]
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.filters |= {
            "bounded_each": _each,
            "bounded_text": _text,
            "bounded_join": _join,
            "bounded_items": _items,
            "join": _join_filter,
            "replace": lambda text, old, new, count=-1: _replace(str(text), str(old), str(new), count),
            "string": lambda value: _shown(value),
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """As jinja2 does; then every loop, text, joining and list goes through a filter that counts."""
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _through("bounded_each", loop.iter)
        for said in list(tree.find_all(nodes.Output)):
            said.nodes = [
                _through(
                    "bounded_text", nodes.Const(one.data) if isinstance(one, nodes.TemplateData) else one
                )
                for one in said.nodes
            ]
        _rewrite(tree)
        tree.set_environment(self)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _METHODS_OUT and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No text is formatted by a text's own rules: a width makes much of little."""

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        bounds.get().tick()
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return _replace(owner, *args)
        if isinstance(owner, str) and name == "join":
            return _joined(owner, *args)
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        bounds.get().tick()
        if operator == "%" and isinstance(left, str):
            raise Refused("it formats text with %")
        if isinstance(left, int) and isinstance(right, int):
            grows = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * right}
            if grows.get(operator, 0) > _MOST_BITS:
                raise Refused("it makes numbers too large")
        elif operator == "*":
            count, many = (left, right) if isinstance(left, int) else (right, left)
            if isinstance(many, str):
                bounds.get().add(len(many) * max(0, count))
            elif isinstance(many, Sized) and _size(many) * max(0, count) > _MOST_ITEMS:
                raise Refused("it makes lists too large")
        made = super().call_binop(context, operator, left, right)
        if isinstance(made, str):
            bounds.get().add(len(made))
        elif operator == "+":
            _size(made)
        return made


def _through(name: str, value: nodes.Node) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None)


def _rewrite(node: nodes.Node) -> None:
    """Send joinings and literal lists through a filter, innermost first."""
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, _rewritten(value))
        elif isinstance(value, list):
            setattr(node, name, [_rewritten(one) if isinstance(one, nodes.Node) else one for one in value])


def _rewritten(node: nodes.Node) -> nodes.Node:
    _rewrite(node)
    if isinstance(node, nodes.Concat):
        return _through("bounded_join", nodes.List(node.nodes))
    # a tuple may be a target of an assignment as well
    made = isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
    return _through("bounded_items", node) if made else node


class _Ticking:
    """Items of a loop, looking at the clock with each."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            bounds.get().tick()
            yield item

    def __len__(self) -> int:
        if not isinstance(self._items, Sized):
            raise TypeError("no length")
        return len(self._items)


# a filter that takes the context is not worked out while the template is read


@pass_context
def _each(context: Context, items: Iterable[Any]) -> Iterable[Any]:
    return _Ticking(items)


@pass_context
def _text(context: Context, value: Any) -> str:
    shown = _shown(value)
    bounds.get().add(len(shown))
    return shown


@pass_context
def _join(context: Context, parts: list[Any]) -> str:
    return _joined("", parts)


@pass_context
def _items(context: Context, value: Any) -> Any:
    _size(value)
    return value


@pass_context
def _join_filter(context: Context, items: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    picked = items
    if attribute is not None:
        picked = [context.environment.getitem(item, attribute) for item in _Ticking(items)]
    return _joined(str(d), picked)


def _joined(between: str, items: Iterable[Any]) -> str:
    parts = [_shown(item) for item in _Ticking(items)]
    bounds.get().add(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def _replace(text: str, old: str, new: str, count: int | None = -1) -> str:
    bounds.get().add(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _shown(value: Any) -> str:
    _size(value)
    return str(value)


def _size(value: Any) -> int:
    """How many things there are in it, counted as often as they are shown."""
    seen = 0
    left: list[Any] = [value]
    while left:
        one = left.pop()
        seen += 1
        if seen > _MOST_ITEMS:
            raise Refused("it makes lists too large")
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            left += one
    return seen


def tojson(value: Any, to_text: Callable[[Any], str]) -> str:
    """JSON of a value by `to_text`."""
    _size(value)
    shown = to_text(value)
    bounds.get().add(len(shown))
    return shown
