"""What a person sees while the models answer."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from .summary import dollars
from .tally import Tally

_LINE_EVERY_S = 5.0


class Screen(Protocol):
    """Told when something changed; decides itself how often to draw."""

    def changed(self, *, now: bool = False) -> None: ...

    def close(self) -> None: ...


class LineScreen:
    """A line every few seconds, for logs and pipes."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._last = 0.0

    def changed(self, *, now: bool = False) -> None:
        at = time.monotonic()
        if now or at - self._last >= _LINE_EVERY_S:
            self._last = at
            print(" · ".join(_words(self._tally, at)), flush=True)

    def close(self) -> None: ...


class LiveScreen:
    """A bar and a table that redraw in place."""

    def __init__(self, tally: Tally) -> None:
        from rich.console import Console
        from rich.live import Live

        self._tally = tally
        self._last = 0.0
        self._live = Live(console=Console(highlight=False), auto_refresh=False, transient=True)
        self._live.start()

    def changed(self, *, now: bool = False) -> None:
        at = time.monotonic()
        if not now and at - self._last < 0.15:
            return
        self._last = at
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._tally
        table = Table(box=None, pad_edge=False)
        for column in ("model", "samples", "from cache", "distinct", "tokens", "cost"):
            table.add_column(column, justify="left" if column == "model" else "right")
        for name, model in sorted(tally.models.items()):
            cost = dollars(model.cost_nanos)
            table.add_row(
                Text(name),
                str(model.samples),
                str(model.from_cache),
                str(model.distinct),
                f"{model.tokens:,}",
                cost,
            )
        bar = ProgressBar(total=tally.expected, completed=tally.samples, width=60)
        self._live.update(Group(bar, Text(" · ".join(_words(tally, at))), table), refresh=True)

    def close(self) -> None:
        self._live.stop()


def screen_for(tally: Tally) -> Screen:
    """For whoever reads standard output now."""
    return LiveScreen(tally) if sys.stdout.isatty() else LineScreen(tally)


def _words(tally: Tally, now: float) -> list[str]:
    words = [
        f"tasks {tally.tasks_done}/{tally.tasks}",
        f"samples {tally.samples}/{tally.expected}",
        f"{tally.pieces_per_second(now):.0f} tokens/s",
        f"{tally.tokens:,} tokens",
        dollars(tally.cost_nanos),
    ]
    if tally.from_cache:
        words.append(f"{tally.from_cache} from the cache")
    if tally.failures:
        words.append(f"{len(tally.failures)} failed")
    return words
