"""A model's own chat template. It is untrusted text: it renders in a sandbox, bounded in time and size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from orchestra_errors import DataLoss, InvalidRequest
from orchestra_inference_node.adapters.exllamav2.template_bounds import (
    BoundedEnvironment,
    Bounds,
    Refused,
    bounds,
    tojson,
)
from orchestra_inference_node.domain.drawing import ChatMessage

_MOST_INDENT = 8


class ChatTemplate:
    """Renders chats to the text that the model was trained on. May be used by several threads."""

    def __init__(
        self, source: str, special: Mapping[str, str], now: Callable[[], datetime] = datetime.now
    ) -> None:
        """`special` are special tokens by the names that templates use, such as bos_token. Raises DataLoss
        for a template that cannot be read."""
        self._special = dict(special)
        environment = BoundedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals |= {
            "raise_exception": _raise,
            "strftime_now": lambda form: now().strftime(form),
        }
        try:
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError) as error:
            raise DataLoss("the chat template", str(error)) from error

    def render(self, messages: tuple[ChatMessage, ...]) -> str:
        """The chat, and the beginning of the model's turn. Raises InvalidRequest when the template refuses
        the messages or goes beyond its bounds; blocks until then."""
        chat = [
            {"role": turn.role, "content": turn.text} | ({"name": turn.name} if turn.name else {})
            for turn in messages
        ]
        given: dict[str, Any] = {
            **self._special,
            "messages": chat,
            "add_generation_prompt": True,
            "tools": None,
            "documents": None,
        }
        before = bounds.set(Bounds())
        try:
            return self._template.render(given)
        except Exception as error:
            # what a template does wrong comes as any kind: jinja2's own, TypeError, ZeroDivisionError …
            raise InvalidRequest.of("chat.messages", f"the model's template refuses them: {error}") from error
        finally:
            bounds.reset(before)


class _Generation(Extension):
    """`{% generation %}` marks the model's turns for training; here it does nothing."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> None:
    raise Refused(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: characters stay as they are, nothing is escaped for HTML."""
    if indent is not None and not 0 <= indent <= _MOST_INDENT:
        raise Refused(f"it indents by {indent}")

    def to_text(one: Any) -> str:
        return json.dumps(
            one, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    return tojson(value, to_text)
