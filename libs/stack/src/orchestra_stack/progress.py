"""What a person sees while a mesh comes up: one line that lives on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO


class Progress(Protocol):
    """Told of every step of a start; must not raise."""

    def service(self, name: str, state: str) -> None:
        """`state` is starting, ready or stopped."""

    def model(self, model: str, node: str, stage: str, done: int | None, total: int | None) -> None:
        """`stage` in words; bytes done and in all while they are known."""

    def note(self, line: str) -> None:
        """Anything else worth a line."""

    def close(self) -> None:
        """Nothing more follows."""


class Silent:
    """For tests."""

    def service(self, name: str, state: str) -> None: ...

    def model(self, model: str, node: str, stage: str, done: int | None, total: int | None) -> None: ...

    def note(self, line: str) -> None: ...

    def close(self) -> None: ...


class Lines:
    """One line per change that matters; for logs and pipes."""

    def __init__(self, total: int, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._total = total
        self._ready: set[str] = set()
        self._stages: dict[str, str] = {}
        self._began = time.monotonic()

    def service(self, name: str, state: str) -> None:
        if state == "ready" and name not in self._ready:
            self._ready.add(name)
            if len(self._ready) == self._total:
                self._say(f"services: all {self._total} ready after {time.monotonic() - self._began:.1f} s")

    def model(self, model: str, node: str, stage: str, done: int | None, total: int | None) -> None:
        if self._stages.get(model) != stage:
            self._stages[model] = stage
            self._say(f"model {model} on {node}: {stage}{_bytes(done, total)}")

    def note(self, line: str) -> None:
        self._say(line)

    def close(self) -> None: ...

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class Live:
    """Redraws itself in place; leaves its last state behind."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._total = total
        self._ready: list[str] = []
        self._starting: list[str] = []
        self._models: dict[str, str] = {}
        self._began = time.monotonic()
        self._console = Console()
        self._live = RichLive(console=self._console, refresh_per_second=8, transient=False)
        self._live.start()

    def service(self, name: str, state: str) -> None:
        group = self._ready if state == "ready" else self._starting
        if name not in group:
            group.append(name)
        if state == "ready" and name in self._starting:
            self._starting.remove(name)
        self._draw()

    def model(self, model: str, node: str, stage: str, done: int | None, total: int | None) -> None:
        self._models[model] = f"{model} on {node}: {stage}{_bytes(done, total)}"
        self._draw()

    def note(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group
        from rich.text import Text

        took = time.monotonic() - self._began
        lines = [
            Text.assemble(("services ", "bold"), f"{len(self._ready)}/{self._total} ready, {took:.1f} s")
        ]
        if self._starting:
            lines.append(Text("  waiting for " + ", ".join(self._starting), style="dim"))
        lines += [Text.assemble(("model    ", "bold"), line) for line in self._models.values()]
        self._live.update(Group(*lines))


def progress_for(total: int) -> Progress:
    """For whoever reads standard output now."""
    return Live(total) if sys.stdout.isatty() else Lines(total)


def _bytes(done: int | None, total: int | None) -> str:
    if done is None or not total:
        return ""
    return f", {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
