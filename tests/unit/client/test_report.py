"""The page: nothing fetched, nothing run, every text only text, figures that agree with the rows."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from orchestra_client.report import write_report
from orchestra_client.report.figures import figures_of

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\" ' & \x1b[31m \ud800 \u202e"


def row(
    task: str, index: int, model: str, text: str, *, nanos: int | None = 2_000, **more: Any
) -> dict[str, Any]:
    stored = more.get("stored", False)
    outcome = "CACHE_OUTCOME_STORED" if stored else "CACHE_OUTCOME_MISS"
    return {
        "task_id": task,
        "prompt": f"def {task}(",
        "text": text,
        "model": model,
        "sample_id": f"{task}-{index}",
        "sample_index": index,
        "finish_reason": "FINISH_REASON_MAX_TOKENS",
        "trace_id": "0" * 32,
        "request_id": "r",
        "provenance": {"model": model, "engine": "llamacpp", "cache": {"outcome": outcome}},
        "usage": {"completion_tokens": 10},
        "cost": {"state": "COST_STATE_SETTLED"} | ({} if nanos is None else {"nanos": nanos}),
        "timings": {
            "started_at": f"2026-11-22T10:00:{index:02}.123456789Z",
            "queued": "0.5s",
            "to_first_token": "0.7s",
            "total": "2.5s",
        },
        "diversity": None,
    }


REPORT = {
    "samples": 3,
    "distinct_texts": 2,
    "measures": [{"name": "combined", "effective_number": 1.8, "mean_distance": 0.4}],
    "near_duplicates": [{"indexes": [0, 2]}],
    "contributions": [{"model": "a", "samples": 2, "effective_number_added": 0.5}],
    "not_measured": {"semantic": HOSTILE},
}
SUMMARY = {
    "run_id": "run-1",
    "started_at": "2026-11-22T10:00:00+00:00",
    "seconds": 4.0,
    "tasks": {"t": {"selected": [2, 0], "diversity": REPORT}},
}


class Page(HTMLParser):
    """Elements, what they refer to, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.references: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        names = [name for name, _ in attrs]
        assert not [name for name in names if name.startswith("on")]
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_and_asks_for_nothing(tmp_path: Path) -> None:
    rows = [row("t", 0, "a", "x"), row("t", 1, "b", HOSTILE), row("t", 2, "a", "x", stored=True)]
    path = tmp_path / "deep" / "report.html"
    write_report(rows, path, title=HOSTILE, summary=SUMMARY)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open and not page.references
    assert not {"script", "img", "link", "iframe", "object"} & set(page.seen)
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text
    assert page.seen.count("svg") >= 5 and page.seen.count("article") == 3
    words = "".join(page.words)
    assert "<script>alert(1)</script>" in words and "same text as #0" in words
    assert not list(path.parent.glob("*.part"))


def test_figures_agree_with_the_rows() -> None:
    rows = [
        row("t", 0, "a", "x"),
        row("t", 1, "a", "x"),
        row("t", 2, "b", "x", nanos=None),
        row("u", 0, "a", "x", stored=True, nanos=0),
        row("u", 1, "b", "y", nanos=5_000),
    ]
    figures = figures_of(rows, SUMMARY)
    a, b = figures.models
    assert (a.samples, a.from_cache, a.distinct, a.tokens, a.cost) == (3, 1, 2, 30, 4_000)
    assert (b.samples, b.distinct, b.cost, b.unknown_cost) == (2, 2, 5_000, 1)
    assert a.speeds == [5.0, 5.0] and a.waits == [0.7, 0.7]
    assert figures.repeated == 1 and figures.distinct == 3
    assert [(round(one.at, 3), one.nanos) for one in figures.payments] == [
        (2.623, 2_000),
        (3.623, 2_000),
        (3.623, 5_000),
    ]
    assert figures.tasks[0].measures == {"combined": 1.8}


@pytest.mark.parametrize("rows", [[], [{"model": "a", "text": "only this is known"}]])
def test_what_is_not_known_is_not_made_up(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(rows, path, title="little", summary={})
    words = "".join(Page(path.read_text(encoding="utf-8")).words)
    assert "No diversity report came" in words and "Nothing was paid" in words
    if rows:
        assert "unknown" in words


def test_the_same_rows_give_the_same_page(tmp_path: Path) -> None:
    rows = [row("t", index, "a", f"x{index}") for index in range(5)]
    for name in ("one", "two"):
        write_report(rows, tmp_path / name, title="same", summary=SUMMARY)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
