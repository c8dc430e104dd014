"""The plots of the page and what they say."""

from __future__ import annotations

from .figures import Figures
from .marks import dollars, esc, tag
from .plots import bars, legend, lines, scores, strips

_MEASURES = ("combined", "lexical", "syntactic", "approach", "semantic")
# away from the first colours, which are models on this page
_COLOURS = {"combined": 5, "lexical": 4, "syntactic": 2, "approach": 3, "semantic": 6}


def charts(figures: Figures) -> str:
    """Models side by side, then tasks, then time."""
    drawn = [_speed(figures), _waits(figures), _distinct(figures), _cost(figures)]
    return "".join(
        (
            tag("div", *filter(None, drawn), class_="grid2"),
            tag("h2", "Diversity by task"),
            _diversity(figures),
            tag("h2", "Cost over time"),
            _over_time(figures),
        )
    )


def figure(title: str, caption: str, drawing: str, *, full: bool = False) -> str:
    """A drawing with its words."""
    return tag(
        "figure",
        tag("h3", esc(title)) if title else "",
        tag("figcaption", esc(caption)),
        tag("div", drawing, class_="wide"),
        class_="full" if full else None,
    )


def _speed(figures: Figures) -> str:
    series = [(model.name, at, model.speeds) for at, model in enumerate(figures.models) if model.speeds]
    if not series:
        return figure("Speed", "No sample was drawn in this run: all came from the cache.", "")
    drawing = strips(series, "tok/s", "tokens per second of each sample, by model")
    return figure("Speed", "Tokens per second of each drawn sample, with the median.", drawing)


def _waits(figures: Figures) -> str:
    series = [(model.name, at, model.waits) for at, model in enumerate(figures.models) if model.waits]
    if not series:
        return ""
    drawing = strips(series, "s", "seconds to the first token of each sample, by model")
    return figure("First token", "Seconds from arrival to the first token, with the median.", drawing)


def _distinct(figures: Figures) -> str:
    series = [
        (model.name, at, float(model.distinct), f"{model.distinct} of {model.samples}")
        for at, model in enumerate(figures.models)
    ]
    drawing = bars(series, "distinct answers by model")
    return figure("Distinct answers", "Different texts among a model's samples, task by task.", drawing)


def _cost(figures: Figures) -> str:
    priced = [model for model in figures.models if model.samples > model.unknown_cost]
    if not priced:
        return figure("Cost", "The cost of no sample is known.", "")
    series = []
    for at, model in enumerate(figures.models):
        if model in priced:
            series.append((model.name, at, float(model.cost), dollars(model.cost)))
            if model.saved:
                saved = ("saved by cache", at % 8 + 8, float(model.saved), dollars(model.saved))
                series.append(saved)
    parts = (
        (sum(model.electricity for model in priced), "electricity"),
        (sum(model.hardware for model in priced), "hardware"),
    )
    named = " and ".join(f"{dollars(nanos)} {part}" for nanos, part in parts if nanos)
    split = f" Of it {named}." if named else ""
    return figure("Cost", "By model." + split, bars(series, "cost by model"))


def _diversity(figures: Figures) -> str:
    measured = [task for task in figures.tasks if task.measures]
    if not measured:
        return tag("p", "No diversity report came with these samples.", class_="soft")
    found = [name for name in _MEASURES if any(name in task.measures for task in measured)]
    ordered = sorted(measured, key=lambda task: -task.measures.get(found[0], 0.0))
    drawing = scores(
        [(task.task_id, task.measures, len(task.rows)) for task in ordered],
        {name: _COLOURS[name] for name in found},
        "effective number of different answers of each task",
    )
    keys = legend([(name, _COLOURS[name]) for name in found], ring=found[1:])
    caption = (
        "How many answers of a task are really different: 1 when all are the same, their number when no two "
        f"are alike. Bars: {found[0]}; rings: the other measures."
    )
    return figure("", caption, keys + drawing, full=True)


def _over_time(figures: Figures) -> str:
    if not figures.payments:
        why = "Nothing was paid in this run: every sample came from the cache, or its cost is not known."
        return tag("p", why, class_="soft")
    series = []
    for at, model in enumerate(figures.models):
        total = 0
        points: list[tuple[float, float]] = []
        for payment in figures.payments:
            if payment.model == model.name:
                total += payment.nanos
                points.append((payment.at, float(total)))
        series.append((model.name, at, points))
    drawing = lines(series, dollars, "cost over time by model")
    return figure("", "Sum of the costs of finished samples, by model.", drawing, full=True)
