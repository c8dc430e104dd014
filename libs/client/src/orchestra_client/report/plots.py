"""Plots as inline SVG. Colours come from the page's style: `c0` … `c7` are the models in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .figures import median
from .marks import esc, tag, ticks

HALF = 470
FULL = 1010
"""Widths in pixels of the places that drawings stand in, so that their words keep the page's size."""
LEFT = 132
RIGHT = 70
Series = Sequence[tuple[str, int, float, str]]
"""(label, colour, value, the value in words) of each bar."""


def svg(width: int, height: float, what: str, *inner: str) -> str:
    """A drawing that fills its column; `what` is read out to those who cannot see it."""
    return tag(
        "svg",
        "".join(inner),
        viewBox=f"0 0 {width} {height:g}",
        role="img",
        aria_label=what,
        class_="full" if width == FULL else None,
        preserveAspectRatio="xMinYMin meet",
    )


def words(x: float, y: float, text: object, anchor: str = "start", class_: str = "") -> str:
    """Text with its middle at `y`."""
    return tag(
        "text", esc(text), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, dy="0.35em", class_=class_ or None
    )


def rule(x1: float, y1: float, x2: float, y2: float, class_: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{class_}"/>'


def bars(series: Series, what: str) -> str:
    """Lying bars from 0, each with its value at its end. Colours from 8 on are the pale twins of 0 to 7."""
    row, top = 30, 4
    largest = max((value for _, _, value, _ in series), default=0.0) or 1.0
    span = HALF - LEFT - RIGHT - 20
    drawn = []
    for at, (label, colour, value, shown) in enumerate(series):
        y = top + at * row
        wide = max(0.0, value / largest * span)
        drawn.append(words(LEFT - 10, y + row / 2, _cut(label), "end"))
        drawn.append(
            f'<rect x="{LEFT}" y="{y + 5}" width="{max(wide, 1.5):.1f}" height="{row - 10}" rx="3" '
            f'class="c{colour % 8}{" pale" if colour > 7 else ""}">'
            f"<title>{esc(label)}: {esc(shown)}</title></rect>"
        )
        drawn.append(words(LEFT + wide + 8, y + row / 2, shown, class_="v"))
    height = top + row * len(series) + 4
    return svg(HALF, height, what, rule(LEFT, top, LEFT, height - 4, "axis"), *drawn)


def strips(series: Sequence[tuple[str, int, Sequence[float]]], unit: str, what: str) -> str:
    """Every value as a dot, a line at each median."""
    row, top = 44, 6
    scale = ticks(max((value for _, _, values in series for value in values), default=1.0))
    span = HALF - LEFT - RIGHT
    bottom = top + row * len(series)

    def x(value: float) -> float:
        return LEFT + value / scale[-1] * span

    drawn = [rule(x(tick), top, x(tick), bottom) for tick in scale]
    drawn += [words(x(tick), bottom + 14, f"{tick:g}", "middle", "t") for tick in scale]
    drawn.append(words(HALF - RIGHT + 14, bottom + 14, unit, class_="t"))
    for at, (label, colour, values) in enumerate(series):
        y = top + at * row + row / 2
        drawn.append(words(LEFT - 10, y, _cut(label), "end"))
        for place, value in enumerate(values[:800]):
            # a fixed pattern in place of chance: the same rows give the same page
            shift = ((place * 7) % 11 - 5) * 2.0
            drawn.append(
                f'<circle cx="{x(value):.1f}" cy="{y + shift:.1f}" r="3.2" class="c{colour % 8} dot"/>'
            )
        middle = median(values)
        if middle is not None:
            drawn.append(rule(x(middle), y - 16, x(middle), y + 16, f"k{colour % 8} mid"))
            drawn.append(words(x(scale[-1]) + 14, y, f"{middle:.3g}", class_="v"))
    return svg(HALF, bottom + 26, what, *drawn)


def scores(tasks: Sequence[tuple[str, Mapping[str, float], int]], marks: Mapping[str, int], what: str) -> str:
    """How many different answers each task got: a row per task, from 1 to its number of samples, a mark per
    measure; `marks` gives each measure its colour, the first one is drawn as a bar."""
    row, top = 24, 8
    most = max((samples for _, _, samples in tasks), default=1)
    left, right = 190, RIGHT
    span = FULL - left - right
    steps = max(1, most - 1)
    bottom = top + row * len(tasks)

    def x(value: float) -> float:
        return left + (min(max(value, 1.0), most) - 1) / steps * span

    every = max(1, round(steps / 6))
    shown = [1 + at for at in range(0, steps + 1, every)]
    drawn = [rule(x(tick), top, x(tick), bottom) for tick in shown]
    drawn += [words(x(tick), bottom + 14, tick, "middle", "t") for tick in shown]
    main = next(iter(marks), "")
    for at, (label, values, _) in enumerate(tasks):
        y = top + at * row + row / 2
        drawn.append(words(left - 10, y, _cut(label, 26), "end"))
        if main in values:
            wide = max(x(values[main]) - left, 2)
            drawn.append(
                f'<rect x="{left}" y="{y - 6}" width="{wide:.1f}" height="12" rx="3" '
                f'class="c{marks[main]}"><title>{esc(label)}, {esc(main)}: {values[main]:.2f}</title></rect>'
            )
            drawn.append(words(FULL - right + 14, y, f"{values[main]:.2f}", class_="v"))
        for name, value in values.items():
            if name != main and name in marks:
                drawn.append(
                    f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="4.5" class="c{marks[name]} ring">'
                    f"<title>{esc(label)}, {esc(name)}: {value:.2f}</title></circle>"
                )
    return svg(FULL, bottom + 26, what, *drawn)


def lines(
    series: Sequence[tuple[str, int, Sequence[tuple[float, float]]]],
    show: Callable[[float], str],
    what: str,
) -> str:
    """Sums that grow in steps: (seconds, value) points in order."""
    height, left, right, top = 280, 76, 150, 12
    bottom = height - 30
    longest = max((points[-1][0] for _, _, points in series if points), default=1.0) or 1.0
    scale = ticks(max((points[-1][1] for _, _, points in series if points), default=1.0))
    across = ticks(longest, 6)

    def x(value: float) -> float:
        return left + value / longest * (FULL - left - right)

    def y(value: float) -> float:
        return bottom - value / scale[-1] * (bottom - top)

    drawn = [rule(left, y(tick), FULL - right, y(tick)) for tick in scale]
    drawn += [words(left - 8, y(tick), show(tick), "end", "t") for tick in scale]
    drawn += [
        words(x(tick), bottom + 16, f"{tick:g} s", "middle", "t") for tick in across if tick <= longest * 1.01
    ]
    ends: list[float] = []
    for label, colour, points in sorted(series, key=lambda one: one[2][-1][1] if one[2] else 0.0):
        if not points:
            continue
        path = f"M{x(points[0][0]):.1f} {y(0):.1f}"
        for at, value in points:
            path += f"H{x(at):.1f}V{y(value):.1f}"
        path += f"H{x(longest):.1f}"
        drawn.append(f'<path d="{path}" class="k{colour % 8} line"><title>{esc(label)}</title></path>')
        place = y(points[-1][1])
        if ends and ends[-1] - place < 15:
            place = ends[-1] - 15
        ends.append(place)
        drawn.append(words(FULL - right + 8, place, _cut(label), class_=f"w{colour % 8}"))
    return svg(FULL, height, what, *drawn)


def legend(entries: Sequence[tuple[str, int]], *, ring: Sequence[str] = ()) -> str:
    """Names with their colours."""
    found = (
        tag("span", tag("i", class_=f"b{colour % 8}{' o' if name in ring else ''}"), esc(name), class_="key")
        for name, colour in entries
    )
    return tag("p", *found, class_="legend")


def _cut(label: str, room: int = 17) -> str:
    return label if len(label) <= room else label[: room - 1] + "…"
