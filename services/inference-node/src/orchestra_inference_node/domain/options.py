"""What an engine's own options may hold. Options travel as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from `least` to `most`, a multiple of `step`."""

    least: int = 1
    most: int | None = None
    step: int = 1

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        most = inf if self.most is None else self.most
        if value.isdecimal() and self.least <= int(value) <= most and int(value) % self.step == 0:
            return ""
        kind = "a whole number" if self.step == 1 else f"a multiple of {self.step}"
        span = f"of {self.least} or more" if self.most is None else f"from {self.least} to {self.most}"
        return f"must be {kind} {span}, is {value!r}"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number of `least` or more."""

    least: float = 0.0

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        try:
            right = self.least <= float(value) < inf
        except ValueError:
            right = False
        return "" if right else f"must be a number of {self.least:g} or more, is {value!r}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Finite numbers above 0 with commas between."""

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        try:
            right = all(0 < float(one) < inf for one in value.split(","))
        except ValueError:
            right = False
        return "" if right else f"must be numbers above 0 with commas between, is {value!r}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        return "" if value in self.words else f"must be one of {', '.join(self.words)}, is {value!r}"


@dataclass(frozen=True, slots=True)
class Text:
    """Any text that is not blank."""

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        return "" if value.strip() else "must not be empty"


FLAG = Choice(("true", "false"))

Option = Count | Number | Numbers | Choice | Text
Options = Mapping[str, Option]
