"""What a terminal is given: text that cannot steer it, figures people read, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING

from ..report.marks import dollars as dollars
from ..report.marks import number as number
from ..report.marks import short as short

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

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


def console(file: IO[str] | None = None) -> Console:
    """Colours only on a terminal; lines as long as they are elsewhere."""
    from rich.console import Console

    file = file or sys.stdout
    width = None if file.isatty() else 240
    return Console(
        file=file, highlight=False, markup=False, emoji=False, soft_wrap=not file.isatty(), width=width
    )


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[int] = (), empty: str = ""
) -> None:
    """Columns in `numeric` stand to the right; `empty` is said where there is no row."""
    from rich.table import Table
    from rich.text import Text

    right = set(numeric)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(head):
        table.add_column(name, justify="right" if at in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    screen = console()
    if table.row_count:
        screen.print(table)
    elif empty:
        screen.print(Text(empty, style="dim"))


_GOOD = {"serving", "yes"}
_BAD = {"failed", "lost", "not serving", "unreachable"}


def _cell(value: object) -> Text:
    from rich.text import Text

    words = visible(value)
    style = "green" if words in _GOOD else "red" if words in _BAD else ""
    return Text(words, style=style)
