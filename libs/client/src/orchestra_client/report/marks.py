"""Pieces of HTML and SVG. Every text that comes from outside goes through `esc`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape


def esc(text: object) -> str:
    """Safe in elements and in quoted attributes. Control characters show as symbols: HTML has no place for
    them."""
    shown = "".join(_visible(one) for one in str(text))
    return escape(shown, quote=True)


def _visible(one: str) -> str:
    code = ord(one)
    if one in "\n\t" or 0x20 <= code < 0x7F or code >= 0xA0:
        # halves of surrogate pairs cannot be written as UTF-8; direction marks would reorder the page
        return (
            "\ufffd"
            if 0xD800 <= code <= 0xDFFF or one in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
            else one
        )
    return chr(0x2400 + code) if code < 0x20 else "\ufffd"


def tag(name: str, *inner: str, **attributes: object) -> str:
    """An element around ready-made HTML; `class_` and the like lose their underscore, None leaves one out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{esc(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{words}>{''.join(inner)}</{name}>"


def dollars(nanos: float) -> str:
    """With as many places as a small sum needs."""
    value = nanos / 1e9
    if value == 0:
        return "$0"
    if value >= 1:
        return f"${value:,.2f}"
    if value >= 0.01:
        return f"${value:.4f}"
    # small sums are read in millionths
    millionths = value * 1e6
    return f"{millionths:,.0f} µ$" if millionths >= 1000 else f"{millionths:.3g} µ$"


def number(value: float | None, places: int = 0) -> str:
    """A dash for what is not known."""
    return "–" if value is None else f"{value:,.{places}f}"


def short(seconds: float | None) -> str:
    """A span of time, in the unit that suits it."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def ticks(top: float, wanted: int = 4) -> list[float]:
    """Round values from 0 up to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    raw = top / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [step * at for at in range(math.ceil(top / step * 0.999) + 1)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """Cells are ready-made HTML; columns in `numeric` stand to the right."""
    right = set(numeric)

    def cells(kind: str, values: Sequence[str]) -> str:
        return "".join(
            tag(kind, value, class_="n" if at in right else None) for at, value in enumerate(values)
        )

    body = "".join(tag("tr", cells("td", row)) for row in rows)
    return tag(
        "div", tag("table", tag("thead", tag("tr", cells("th", head))), tag("tbody", body)), class_="wide"
    )
