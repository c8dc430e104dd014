"""What an engine's own options may hold. Options travel as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from `least` to `most`."""

    least: int = 1
    most: int | None = None

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        most = inf if self.most is None else self.most
        if value.isdecimal() and self.least <= int(value) <= most:
            return ""
        span = f"of {self.least} or more" if self.most is None else f"from {self.least} to {self.most}"
        return f"must be a whole number {span}, is {value!r}"


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

Option = Count | Number | Choice | Text
Options = Mapping[str, Option]
