"""What the tokens of a GGUF model stand for, in bytes, and which ones a text is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from orchestra_inference_node.adapters.llamacpp.gguf import TokenTable

_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6


class Vocabulary:
    """Read when it is first needed, since it is thousands of short texts.

    Tokens that print nothing have no bytes, and neither has any token of a tokenizer that is neither
    byte-level nor sentence-piece.
    """

    def __init__(self, read: Callable[[], TokenTable]) -> None:
        self._read = read
        self.known = True
        """Whether anything is known of what its tokens stand for."""

    @classmethod
    def unknown(cls, tokens: int) -> Vocabulary:
        """Of a model whose file is out of sight: none of its tokens has bytes."""
        vocabulary = cls(lambda: TokenTable("", [""] * tokens, [_NORMAL] * tokens))
        vocabulary.known = False
        return vocabulary

    @cached_property
    def _bytes(self) -> list[bytes]:
        table = self._read()
        read = {"gpt2": _byte_level, "llama": _sentence_piece}.get(table.kind)
        if read is None:
            return [b""] * len(table.texts)
        return [read(text, kind) for text, kind in zip(table.texts, table.types, strict=True)]

    @cached_property
    def _tokens(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for token, piece in enumerate(self._bytes):
            if piece:
                found.setdefault(piece, []).append(token)
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._tokens), default=0)

    @cached_property
    def plain(self) -> int:
        """A token that is a whole letter."""
        return next(tokens[0] for piece, tokens in self._tokens.items() if piece.isalpha())

    def bytes_of(self, token: int) -> bytes:
        return self._bytes[token]

    def visible(self, tokens: Sequence[int]) -> int:
        """How many of the tokens go by until one ends inside a character."""
        text = b""
        for at, token in enumerate(tokens):
            text += self._bytes[token]
            if cut_off(text):
                return at
        return len(tokens)

    def fill(self, text: bytes, pattern: Sequence[int | None]) -> tuple[int, ...] | None:
        """The tokens of a text of which some are known, where only one way fits; each of the unknown ones
        (None) ends inside a character."""
        # the ways to come to a position with as many tokens, two at most: more say no more
        ways: dict[int, list[tuple[int, ...]]] = {0: [()]}
        for known in pattern:
            further: dict[int, list[tuple[int, ...]]] = {}
            for at, ways_here in ways.items():
                for end, token in self._next(text, at, known):
                    reached = further.setdefault(end, [])
                    reached += [(*way, token) for way in ways_here][: 2 - len(reached)]
            ways = further
        whole = ways.get(len(text), [])
        return whole[0] if len(whole) == 1 else None

    def _next(self, text: bytes, at: int, known: int | None) -> Iterator[tuple[int, int]]:
        if known is not None:
            if text.startswith(self._bytes[known], at):
                yield at + len(self._bytes[known]), known
            return
        for end in range(at + 1, min(len(text), at + self._longest) + 1):
            if cut_off(text[:end]):
                for token in self._tokens.get(text[at:end], ()):
                    yield end, token


def cut_off(text: bytes) -> bool:
    """Whether a UTF-8 text ends inside a character."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False


def _byte_level(text: str, kind: int) -> bytes:
    if kind == _USER_DEFINED:
        return text.encode()
    if kind != _NORMAL:
        return b""
    return text.translate(_LETTERS).encode("latin-1", "ignore")


def _sentence_piece(text: str, kind: int) -> bytes:
    if kind == _BYTE:
        return bytes([int(text[3:5], 16)])
    return text.replace("\u2581", " ").encode() if kind in (_NORMAL, _USER_DEFINED) else b""


def _letters() -> dict[int, int]:
    """Byte-level vocabularies write each byte as one letter: printable ones as themselves, the others from
    U+0100 on."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in plain]
    return {0x100 + at: byte for at, byte in enumerate(others)}


_LETTERS = _letters()
