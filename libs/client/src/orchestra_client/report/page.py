"""The page as a whole."""

from __future__ import annotations

from importlib.resources import files

from .browse import browse
from .charts import charts
from .figures import Figures, ModelFigures
from .marks import dollars, esc, number, short, table, tag

# nothing may be fetched, not even by a text that slipped through
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(figures: Figures, title: str) -> str:
    """HTML, complete."""
    style = (files(__package__) / "style.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{esc(title)}</title><style>{style}</style>"
    )
    body = tag(
        "main",
        _header(figures, title),
        tag("h2", "Models"),
        _models(figures),
        charts(figures),
        browse(figures),
        _footer(),
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _header(figures: Figures, title: str) -> str:
    said = [
        _when(figures.started_at),
        figures.run_id and f"run {figures.run_id}",
    ]
    if figures.seconds is not None:
        said.append(f"{figures.seconds:.0f} s in all")
    said.append(f"{len(figures.models)} models, {len(figures.tasks)} tasks")
    return tag(
        "header",
        tag("h1", esc(title)),
        tag("p", esc(" · ".join(filter(None, said))), class_="soft"),
        _tiles(figures),
    )


def _when(moment: str) -> str:
    """To the second; times of the rows are all UTC."""
    utc = moment.endswith(("Z", "+00:00"))
    return f"{moment[:19].replace('T', ' ')} UTC" if utc else moment.replace("T", " ")


def _tiles(figures: Figures) -> str:
    models = figures.models
    cached = sum(model.from_cache for model in models)
    tokens = sum(model.tokens for model in models)
    cost = sum(model.cost for model in models)
    unknown = sum(model.unknown_cost for model in models)
    saved = sum(model.saved for model in models)
    pace = f"{tokens / figures.seconds:,.0f} a second over the run" if figures.seconds else ""
    found = [
        ("samples", number(figures.samples), f"{cached} from the cache, {figures.samples - cached} drawn"),
        (
            "distinct answers",
            number(figures.distinct),
            f"{figures.repeated} samples repeat a text of their own model",
        ),
        ("tokens", number(tokens), pace),
        (
            "cost",
            dollars(cost) if unknown < figures.samples or not figures.samples else "unknown",
            f"{unknown} samples of unknown cost" if unknown else "every sample priced",
        ),
        ("saved by the cache", dollars(saved), "what stored draws would have cost again"),
    ]
    average = _average(figures)
    if average is not None:
        found.insert(2, ("really different", f"{average[0]:.2f}", f"of {average[1]:.1f} answers per task"))
    tiles = (
        tag("div", tag("dt", esc(name)), tag("dd", esc(value), tag("small", esc(more))), class_="tile")
        for name, value, more in found
    )
    return tag("dl", *tiles, class_="tiles")


def _average(figures: Figures) -> tuple[float, float] | None:
    """Mean effective number by the combined measure, and mean number of answers, of the tasks measured."""
    measured = [task for task in figures.tasks if "combined" in task.measures]
    if not measured:
        return None
    effective = sum(task.measures["combined"] for task in measured) / len(measured)
    return effective, sum(len(task.rows) for task in measured) / len(measured)


def _models(figures: Figures) -> str:
    head = (
        "model",
        "samples",
        "from cache",
        "distinct",
        "tokens",
        "tokens/s",
        "first token",
        "cost",
        "per sample",
        "saved",
        "ended by",
    )
    rows = [_model(at, model) for at, model in enumerate(figures.models)]
    return tag("div", table(head, rows, numeric=range(1, 10)), class_="card full")


def _model(at: int, model: ModelFigures) -> list[str]:
    from .figures import median

    priced = model.samples - model.unknown_cost
    ends = "<br>".join(
        esc(f"{reason.replace('_', ' ')} {count}") for reason, count in model.reasons.most_common()
    )
    return [
        tag(
            "span",
            tag("i", class_=f"b{at % 8}"),
            esc(model.name),
            tag("small", esc(", ".join(model.engines))),
            class_="name",
        ),
        number(model.samples),
        number(model.from_cache),
        number(model.distinct),
        number(model.tokens),
        number(median(model.speeds), 1),
        esc(short(median(model.waits))),
        esc(dollars(model.cost) if priced else "unknown"),
        esc(dollars(model.cost / priced) if priced else "–"),
        esc(dollars(model.saved)),
        tag("span", ends, class_="ends"),
    ]


def _footer() -> str:
    return tag(
        "footer",
        "Speeds and waits are medians over samples drawn in this run, as the serving process measured them. "
        "“Really different” is the Vendi score: 1 when all answers of a task are the same, their number when "
        "no two are alike. µ$ is a millionth of a dollar. A dash is a figure that "
        "nobody measured.",
    )
