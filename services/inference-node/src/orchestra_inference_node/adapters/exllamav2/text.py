"""The text of an answer, token by token: whole characters, and nothing of a stop text. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# how a decoder shows bytes that make no character
_BROKEN = "\ufffd"
# bytes that may still become a character are shown as so many of them at most
_MOST_BROKEN = 3
# of the prompt; a space in front of a word shows only after another token
_CONTEXT_TOKENS = 6


class StopTexts:
    """Finds the first of some texts in a stream, holding back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = sorted(set(stops), key=len)
        self._held = ""
        self.matched = ""

    def feed(self, text: str) -> str:
        """What may be said now. Once `matched` is set there is no more."""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            # of those that begin at the same place the shortest: it was whole first
            at, self.matched = min(found, key=lambda one: one[0])
            said, self._held = self._held[:at], ""
            return said
        keep = max((self._beginning(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        said, self._held = self._held[:cut], self._held[cut:]
        return said

    def _beginning(self, stop: str) -> int:
        """How many characters at the end are those that the text begins with."""
        most = min(len(stop) - 1, len(self._held))
        return next((many for many in range(most, 0, -1) if self._held.endswith(stop[:many])), 0)

    def rest(self) -> str:
        """What was held back and came to nothing."""
        said, self._held = self._held, ""
        return said


class AnswerText:
    """The text that ids stand for after those of a prompt."""

    def __init__(
        self, decode: Callable[[Sequence[int]], str], prompt_ids: Sequence[int], stops: Sequence[str]
    ) -> None:
        """`decode` gives the text of ids, bytes that make no character as replacement characters."""
        self._decode = decode
        self._stops = StopTexts(stops)
        context = list(prompt_ids[-_CONTEXT_TOKENS:])
        if decode(context).endswith(_BROKEN):
            context = []
        # ids whose text may still change, after `_before` of them that give it its place
        self._ids = context
        self._before = len(context)

    @property
    def matched(self) -> str:
        """The stop text that was found; empty until then."""
        return self._stops.matched

    def add(self, token_id: int) -> str:
        """What may be said with one more token."""
        self._ids.append(token_id)
        text = self._new()
        broken = len(text) - len(text.rstrip(_BROKEN))
        if not text or 0 < broken <= _MOST_BROKEN:
            return ""
        self._ids = self._ids[self._before :]
        self._before = len(self._ids)
        return self._stops.feed(text)

    def rest(self) -> str:
        """What is left at the end, without a character that is not whole."""
        said = self._stops.feed(self._new().rstrip(_BROKEN))
        self._ids, self._before = [], 0
        return said + self._stops.rest()

    def _new(self) -> str:
        return self._decode(self._ids)[len(self._decode(self._ids[: self._before])) :]
