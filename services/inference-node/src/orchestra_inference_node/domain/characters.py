"""Whole characters out of bytes that tokens cut anywhere."""

from __future__ import annotations

import codecs


class WholeCharacters:
    """Holds back the bytes of a character until it is complete.

    Bytes that can never become one turn into U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, piece: bytes) -> str:
        """The characters that are complete now; may be empty."""
        return self._decoder.decode(piece)

    @property
    def held(self) -> bytes:
        """The beginning of a character that is not complete yet."""
        return self._decoder.getstate()[0]
