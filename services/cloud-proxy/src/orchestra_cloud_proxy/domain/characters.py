"""Whole characters out of text that a provider may have cut inside one."""

from __future__ import annotations


def whole(text: str) -> str:
    """Pairs of surrogates joined; what is half a character becomes U+FFFD, since UTF-8 cannot carry it."""
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Joiner:
    """Keeps back a character whose second half is still to come."""

    def __init__(self) -> None:
        self._half = ""

    def take(self, text: str) -> str:
        """What can be said now."""
        if not text:
            return ""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return whole(text)

    def rest(self) -> str:
        """At the end of the stream."""
        half, self._half = self._half, ""
        return whole(half)
