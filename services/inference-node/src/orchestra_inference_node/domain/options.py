"""What an engine's own options may hold. Options travel as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number of `least` or more."""

    least: int = 1

    def amiss(self, value: str) -> str:
        """What is wrong with the text; empty when nothing is."""
        right = value.isdecimal() and int(value) >= self.least
        return "" if right else f"must be a whole number of {self.least} or more, is {value!r}"


Options = Mapping[str, Count]
