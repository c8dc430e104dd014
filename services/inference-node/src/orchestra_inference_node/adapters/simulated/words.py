"""The vocabulary, and text to token ids and back without loss."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

# what marks whose turn it is; only a chat has them
ROLES = ("system", "user", "assistant", "tool")
NAMES = (
    "values", "items", "left", "right", "total", "count", "index", "result", "queue", "stack", "node",
    "graph", "key", "value", "words", "lines", "text", "first", "last", "best", "seen", "path", "cost",
    "limit", "start", "end", "size", "table", "row", "column", "pair", "rank",
)  # fmt: skip
VERBS = (
    "sort", "merge", "scan", "split", "fold", "walk", "pack", "trim", "find", "reverse", "filter", "group",
    "sum", "hash", "parse", "copy", "join", "swap", "shift", "push", "pop", "map", "zip", "slice", "peek",
    "probe", "visit", "close", "open", "test", "mark", "drop",
)  # fmt: skip
_OTHERS = (
    "def", "return", "for", "in", "if", "else", "while", "not", "and", "or", "import", "from", "with", "as",
    "None", "True", "False", "is", "pass", "break", "class", "self", "the", "a", "of", "to", "by", "each",
    "then", "until", "word", "add", "b", "x", "y", "i", "n", "list", "number", "numbers", "sea", "blue",
)  # fmt: skip
_SIGNS = tuple("()[]{}:,.=+-*/%<>!#\"';&|^~@0123456789")
_PIECE = re.compile(r"\n| {4}| ?[A-Za-z_]+| ?[0-9]| ?[^\sA-Za-z_0-9]|\s")

END = 0
_FIRST_BYTE = 1 + len(ROLES)
_FIRST_WORD = _FIRST_BYTE + 256


def _vocabulary() -> list[str]:
    found = {"\n": None, "    ": None}
    for word in (*NAMES, *VERBS, *_OTHERS, *_SIGNS):
        found |= {word: None, f" {word}": None}
    return list(found)


_WORDS = _vocabulary()
_IDS = {word: _FIRST_WORD + at for at, word in enumerate(_WORDS)}
# marks have no text
_BYTES: tuple[bytes, ...] = (
    *(b"" for _ in range(_FIRST_BYTE)),
    *(bytes([byte]) for byte in range(256)),
    *(word.encode() for word in _WORDS),
)
VOCABULARY = len(_BYTES)


def ids_of(text: str) -> tuple[int, ...]:
    """The token ids of a text: words that are known, and the bytes of all others."""
    out: list[int] = []
    for piece in _PIECE.findall(text):
        known = _IDS.get(piece)
        if known is None:
            out.extend(_FIRST_BYTE + byte for byte in piece.encode())
        else:
            out.append(known)
    return tuple(out)


def mark_of(role: str) -> int:
    """The token that begins a turn of the role."""
    return 1 + ROLES.index(role)


def bytes_of(token: int) -> bytes:
    """What a token stands for; it may be a part of a character."""
    return _BYTES[token]


def text_of(ids: Iterable[int]) -> str:
    """The text of token ids; bytes that are no character show as U+FFFD."""
    return b"".join(map(bytes_of, ids)).decode(errors="replace")


class Characters:
    """The text of tokens as they come, in whole characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Iterable[int]) -> str:
        """What can be shown; a character that is not whole yet waits."""
        return self._decoder.decode(b"".join(map(bytes_of, ids)))
