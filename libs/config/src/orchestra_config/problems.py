"""Mistakes in a configuration file, each with its place, and the one error that carries them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and list indexes from the root of the document."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. `line` and `column` count from 1; 0 when the file could not be read at all."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where} {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigError(ValueError):
    """A configuration is wrong; `problems` names every mistake, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        noun = "mistake" if len(self.problems) == 1 else "mistakes"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} {noun} in the configuration:\n{lines}")


def dotted(path: Path) -> str:
    """`('nodes', 0, 'id')` → `nodes[0].id`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names most like this one, best first; empty when none is near."""
    known = sorted(set(known))
    folded = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(folded), n=count, cutoff=0.6)
    prefixed = [
        key for key in folded if name and (key.startswith(name.lower()) or name.lower().startswith(key))
    ]
    return tuple(folded[key] for key in dict.fromkeys([*near, *prefixed]))[:count]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean x?)`, or nothing when no name is near."""
    near = nearest(name, known)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
