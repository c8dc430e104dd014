"""What a terminal is given: text that cannot steer it, figures people read, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import click

from ..report.marks import dollars as dollars
from ..report.marks import number as number
from ..report.marks import short as short

_KEPT = {"\n", "\t"}
_MARKS = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Cleaner:
    """Takes control sequences out of a text that comes in pieces, wherever the pieces are cut."""

    def __init__(self) -> None:
        self._state = "text"

    def clean(self, piece: str) -> str:
        """The piece without escape sequences, control characters and marks that turn the direction."""
        return "".join(one for one in piece if self._keep(one))

    def _keep(self, one: str) -> bool:
        code = ord(one)
        if self._state == "escape":
            # a sequence's introducer decides how it ends; any other character ends it at once
            self._state = {
                "[": "csi",
                "]": "string",
                "P": "string",
                "X": "string",
                "^": "string",
                "_": "string",
            }.get(one, "escape" if 0x20 <= code <= 0x2F else "text")
            return False
        if self._state == "csi":
            if 0x40 <= code <= 0x7E or code < 0x20:
                self._state = "text"
            return one in _KEPT
        if self._state == "string":
            if one == "\x1b":
                self._state = "escape"
            elif one in ("\x07", "\x9c", "\n"):
                self._state = "text"
            return one == "\n"
        if one in ("\x1b", "\x9b", "\x9d", "\x90"):
            self._state = {"\x1b": "escape", "\x9b": "csi"}.get(one, "string")
            return False
        return one in _KEPT or not (
            code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code <= 0xDFFF or one in _MARKS
        )


def visible(text: object) -> str:
    """A whole text, cleaned."""
    return Cleaner().clean(str(text))


def word(enum: Any, value: int) -> str:
    """An enum's value without its prefix, in lower case."""
    names: str = enum.Name(value)
    prefix = enum.keys()[0].removesuffix("UNSPECIFIED")
    return names.removeprefix(prefix).lower().replace("_", " ")


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[int] = (), empty: str = ""
) -> None:
    """Columns in `numeric` stand to the right; `empty` is said where there is no row.

    Plain columns for pipes and files; colours, and folds that fit the window, only on a terminal.
    """
    right = set(numeric)
    cells = [[visible(value).replace("\n", " ") for value in row] for row in rows]
    if not cells:
        if empty:
            click.echo(empty)
    elif sys.stdout.isatty():
        _coloured(head, cells, right)
    else:
        for line in _plain([list(head), *cells] if head else cells, right):
            click.echo(line)


def _plain(lines: list[list[str]], right: set[int]) -> Iterable[str]:
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        words = (
            word.rjust(wide) if at in right else word.ljust(wide)
            for at, (word, wide) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(words).rstrip()


def _coloured(head: Sequence[str], lines: list[list[str]], right: set[int]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(head))
    for at in range(len(lines[0])):
        justify: Literal["left", "right"] = "right" if at in right else "left"
        table.add_column(head[at] if head else "", justify=justify, overflow="fold")
    for line in lines:
        table.add_row(*(Text(word, style=_COLOURS.get(word, "")) for word in line))
    Console(highlight=False, markup=False, emoji=False).print(table)


_COLOURS = {
    "serving": "green",
    "yes": "green",
    "failed": "red",
    "lost": "red",
    "not serving": "red",
    "unreachable": "red",
}
