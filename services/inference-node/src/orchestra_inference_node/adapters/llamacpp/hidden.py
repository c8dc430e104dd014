"""Tokens that the engine keeps to itself: those that end inside a character. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestra_errors import DataLoss

Fill = Callable[[bytes, Sequence[int | None]], tuple[int, ...] | None]
"""The tokens of a text of which some are known, where only one way fits; see Vocabulary.fill."""


class HiddenTokens:
    """Finds the ids of hidden tokens by the bytes of the text that they were shown in.

    The engine streams a token with the text that it completes, and says how many it drew so far. Those in
    between have no event of their own. Their text comes with the next token that has one, or later while it
    may still become a stop text.
    """

    def __init__(self, fill: Fill) -> None:
        self._fill = fill
        self._textless: list[int | None] = []
        self._given = 0

    @property
    def waiting(self) -> bool:
        """Whether tokens were drawn that are not known yet."""
        return self._given < len(self._textless)

    @property
    def withheld(self) -> list[int]:
        """The tokens whose text has not come; none when one of them is not known."""
        known = [token for token in self._textless if token is not None]
        return known if len(known) == len(self._textless) else []

    def note(self, missed: int, token: int) -> None:
        """A token was shown after `missed` hidden ones."""
        self._textless += [None] * missed
        self._textless.append(token)

    def known(self, text: str, stops: Sequence[str] = ()) -> tuple[list[tuple[int, bool]], list[int]]:
        """The tokens that are known since the last look, and which of them were hidden; and all tokens of
        this text, or of it and one of `stops` that the engine cut off.

        Raises DataLoss when the text can be made in several ways.
        """
        tokens: Sequence[int | None] = self._textless
        found: Sequence[int] = self.withheld
        if len(found) < len(tokens):
            if not text:
                return [], []
            ways = [self._fill((text + stop).encode(), tokens) for stop in ("", *stops)]
            found = next((way for way in ways if way is not None), ())
            if not found:
                raise lost("token ids")
        fresh = [(one, was is None) for one, was in zip(found, tokens, strict=True)][self._given :]
        self._given = len(found)
        if text:
            self.text_came()
        return fresh, list(found)

    def text_came(self) -> None:
        """Of all tokens so far."""
        self._textless, self._given = [], 0


def lost(what: str) -> DataLoss:
    """The engine drew tokens that nobody can name any more."""
    return DataLoss(f"the {what} of a character made of several tokens", "the engine does not stream them")
