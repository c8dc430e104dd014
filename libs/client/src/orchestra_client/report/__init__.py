"""One page that a person would rather look at than at the rows. Needs nothing but the rows: no network, no
mesh, no scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .figures import figures_of
from .page import page

__all__ = ["write_report"]


def write_report(
    rows: Iterable[Mapping[str, Any]], path: Path, *, title: str, summary: Mapping[str, Any]
) -> None:
    """Writes a self-contained HTML page of `rows` (as in samples.jsonl) to `path`, whole or not at all.

    `summary` may carry `run_id`, `started_at` (ISO 8601), `seconds` of the whole run, and `tasks`: by task id
    the diverse summary as JSON, of which `diversity` and `selected` are shown. Raises OSError.
    """
    text = page(figures_of(rows, summary), title)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
