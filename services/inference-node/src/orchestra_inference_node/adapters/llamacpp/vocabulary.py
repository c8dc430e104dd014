"""What the tokens of a GGUF model stand for, in bytes, and which ones a text is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from orchestra_inference_node.adapters.llamacpp.token_table import TokenTable

_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6


class Vocabulary:
    """Looked into when that is first needed.

    Tokens that print nothing have no bytes, and neither has any token of a tokenizer that is neither
    byte-level nor sentence-piece.
    """

    def __init__(self, read: Callable[[], TokenTable]) -> None:
        self._read = read
        self.known = True
        """Whether anything is known of what its tokens stand for."""

    @classmethod
    def unknown(cls) -> Vocabulary:
        """Of a model whose file is out of sight: none of its tokens has bytes."""
        vocabulary = cls(lambda: TokenTable("", (), ()))
        vocabulary.known = False
        return vocabulary

    @cached_property
    def _table(self) -> TokenTable:
        return self._read()

    @cached_property
    def _spell(self) -> Callable[[str, int], bytes] | None:
        return {"gpt2": _byte_level, "llama": _sentence_piece}.get(self._table.kind)

    @cached_property
    def _inside(self) -> dict[bytes, list[int]]:
        """The tokens that may end inside a character, by their bytes: few of all."""
        found: dict[bytes, list[int]] = {}
        if self._spell is None:
            return found
        table = self._table
        if self._spell is _sentence_piece:
            tokens = [token for token, kind in enumerate(table.types) if kind == _BYTE]
        else:
            tokens = [token for token, text in enumerate(table.texts) if text and text[-1] not in _ASCII]
        for token in tokens:
            if piece := self.bytes_of(token):
                found.setdefault(piece, []).append(token)
        return found

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._inside), default=0)

    @cached_property
    def plain(self) -> int:
        """A token that is a whole letter."""
        return next(token for token in range(len(self._table.texts)) if self.bytes_of(token).isalpha())

    def bytes_of(self, token: int) -> bytes:
        if self._spell is None:
            return b""
        return self._spell(self._table.texts[token], self._table.types[token])

    def visible(self, tokens: Sequence[int]) -> int:
        """How many of the tokens go by until one ends inside a character."""
        text = b""
        for at, token in enumerate(tokens):
            text += self.bytes_of(token)
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
            if text.startswith(piece := self.bytes_of(known), at):
                yield at + len(piece), known
            return
        for end in range(at + 1, min(len(text), at + self._longest) + 1):
            if cut_off(text[:end]):
                for token in self._inside.get(text[at:end], ()):
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
# the letters of bytes that end inside no character
_ASCII = {*map(chr, range(0x21, 0x7F)), *(chr(letter) for letter, byte in _LETTERS.items() if byte < 0x80)}
