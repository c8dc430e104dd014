"""Stop texts in a text that comes in parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Released:
    """Text that may be shown. `matched` is the stop text that ended it; empty: it goes on."""

    text: str
    matched: str = ""


class StopTexts:
    """Lets text through up to the first stop text, and holds back what may become one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> Released:
        """What may be shown now that `text` has come. Nothing is fed after a match."""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            # at one place the longer one is the one that was meant
            at, stop = min(found, key=lambda one: (one[0], -len(one[1])))
            return Released(self._held[:at], stop)
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return Released(shown)

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, stop: str) -> int:
        """How many characters at the end of what is held begin the stop text."""
        most = min(len(stop) - 1, len(self._held))
        return next((size for size in range(most, 0, -1) if self._held.endswith(stop[:size])), 0)
