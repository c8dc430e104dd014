"""Every task with its samples, folded away until somebody looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .figures import Figures, Row, TaskFigures, seconds_of, stored
from .marks import dollars, esc, number, short, table, tag

MOST_SAMPLES = 3000
"""Samples shown on one page; more make it too heavy to open."""


def browse(figures: Figures) -> str:
    """A fold for each task."""
    colours = {model.name: at for at, model in enumerate(figures.models)}
    folds: list[str] = []
    shown = 0
    for task in figures.tasks:
        if shown + len(task.rows) > MOST_SAMPLES and folds:
            break
        shown += len(task.rows)
        folds.append(_task(task, colours))
    left = figures.samples - shown
    more = (
        f" {left:,} samples of {len(figures.tasks) - len(folds)} more tasks are in the rows." if left else ""
    )
    return "".join(
        (
            tag("h2", "Every answer"),
            tag("p", f"{shown:,} samples.{more} Open a task to read them.", class_="soft"),
            *folds,
        )
    )


def _task(task: TaskFigures, colours: Mapping[str, int]) -> str:
    different = task.measures.get("combined")
    words = [f"{len(task.rows)} samples", f"{task.distinct} distinct", dollars(task.cost)]
    if different is not None:
        words.insert(2, f"{different:.2f} really different")
    prompt = task.prompt if isinstance(task.prompt, str) else str(task.prompt)
    same = _same_text(task)
    near = _near(task)
    samples = (
        _sample(row, colours, same.get(at), near.get(int(row.get("sample_index", at))), task)
        for at, row in enumerate(task.rows)
    )
    return tag(
        "details",
        tag(
            "summary",
            tag("b", esc(task.task_id or "task")),
            tag("span", esc(" · ".join(words)), class_="soft"),
        ),
        tag(
            "div",
            tag("h3", "Prompt"),
            tag("pre", esc(prompt)),
            _measures(task),
            tag("div", *samples, class_="samples"),
            class_="inside",
        ),
    )


def _measures(task: TaskFigures) -> str:
    rows = [
        [
            esc(one.get("name", "")),
            number(one.get("effective_number"), 2),
            number(one.get("mean_distance"), 2),
        ]
        for one in task.diversity.get("measures", ())
    ]
    missing: Mapping[str, str] = task.diversity.get("not_measured") or {}
    rows += [[esc(name), "–", esc(why)] for name, why in missing.items()]
    if not rows:
        return ""
    parts = [table(("measure", "really different", "mean distance"), rows, numeric=(1, 2))]
    gains = [
        [
            esc(one.get("model", "")),
            number(one.get("samples", 0)),
            number(one.get("effective_number_added", 0.0), 2),
        ]
        for one in task.diversity.get("contributions", ())
    ]
    if gains:
        parts.append(table(("model", "samples", "adds to the whole"), gains, numeric=(1, 2)))
    return tag("div", *parts, class_="grid2")


def _sample(
    row: Row, colours: Mapping[str, int], same: int | None, near: list[int] | None, task: TaskFigures
) -> str:
    index = int(row.get("sample_index", 0))
    model = str(row.get("model", "")) or "unknown"
    reason = str(row.get("finish_reason", "")).removeprefix("FINISH_REASON_").replace("_", " ").lower()
    badges = [tag("span", esc(f"#{index}"), class_="badge"), tag("span", esc(reason), class_="badge")]
    if stored(row):
        badges.append(tag("span", "from the cache", class_="badge good"))
    if index in task.selected:
        badges.append(
            tag("span", esc(f"selected {list(task.selected).index(index) + 1}"), class_="badge good")
        )
    if same is not None:
        badges.append(tag("span", esc(f"same text as #{same}"), class_="badge warn"))
    elif near:
        like = ", ".join(f"#{other}" for other in near if other != index)
        badges.append(tag("span", esc(f"much like {like}"), class_="badge warn"))
    header = tag(
        "header",
        tag("span", tag("i", class_=f"b{colours.get(model, 0) % 8}"), esc(model), class_="name"),
        *badges,
    )
    return tag(
        "article",
        header,
        tag("pre", esc(row.get("text", "")), class_="answer"),
        tag("details", tag("summary", esc(_short_facts(row))), _facts(row)),
        class_="sample",
    )


def _short_facts(row: Row) -> str:
    tokens = row.get("usage", {}).get("completion_tokens")
    cost = row.get("cost", {})
    paid = dollars(cost["nanos"]) if "nanos" in cost else "cost unknown"
    time = short(seconds_of(row.get("timings", {}).get("total")))
    return f"{number(tokens)} tokens · {time} · {paid} · where it comes from"


def _facts(row: Row) -> str:
    pairs: list[str] = []
    for part in ("provenance", "usage", "cost", "timings"):
        for name, value in _flat(row.get(part) or {}):
            pairs += [tag("dt", esc(f"{name}".replace("_", " "))), tag("dd", esc(value))]
    return tag("dl", *pairs, class_="facts")


def _flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{before}{name} ")
        elif isinstance(value, list):
            flat.append((before + name, ", ".join(json.dumps(one, ensure_ascii=False) for one in value)))
        else:
            flat.append((before + name, str(value)))
    return flat


def _same_text(task: TaskFigures) -> dict[int, int]:
    """By position, the index of the first sample that has the same text."""
    first: dict[str, int] = {}
    same: dict[int, int] = {}
    for at, row in enumerate(task.rows):
        text = str(row.get("text", ""))
        if text in first:
            same[at] = first[text]
        else:
            first[text] = int(row.get("sample_index", at))
    return same


def _near(task: TaskFigures) -> dict[int, list[int]]:
    """By sample index, the group of near-duplicates that it belongs to."""
    found: dict[int, list[int]] = {}
    for group in task.diversity.get("near_duplicates", ()):
        indexes = [int(one) for one in group.get("indexes", ())]
        for index in indexes:
            found[index] = indexes
    return found
