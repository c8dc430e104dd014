"""The tokenizer in a GGUF file."""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from orchestra_inference_node.adapters.llamacpp.gguf import Cursor

_KIND, _TEXTS, _TYPES = "tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_LENGTH = struct.Struct("<Q").unpack_from


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Of each token its text, as the tokenizer of this kind writes it, and its type; both are llama.cpp's."""

    kind: str
    texts: Sequence[str]
    types: Sequence[int]


def token_table(path: Path) -> TokenTable:
    """Of a file that is whole. Texts stay in the file until they are asked for: there are up to some hundred
    thousand."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    kind, texts, types = "", Texts(data, array("Q")), array("i")
    cursor = Cursor(data, 16)
    for _ in range(cursor.number("Q")):
        key = cursor.text()
        of = cursor.number("I")
        if key == _KIND:
            kind = cursor.text()
        elif key == _TEXTS:
            _, count = cursor.array()
            texts = Texts(data, _starts(data, cursor, count))
        elif key == _TYPES:
            _, count = cursor.array()
            types.frombytes(data[cursor.at : cursor.at + 4 * count])
            break
        else:
            cursor.value(of)
    return TokenTable(kind, texts, types)


def _starts(data: mmap.mmap, cursor: Cursor, count: int) -> array[int]:
    starts = array("Q")
    at = cursor.at
    for _ in range(count):
        starts.append(at)
        at += 8 + _LENGTH(data, at)[0]
    cursor.at = at
    return starts


class Texts(Sequence[str]):
    """Texts where they lie in a file: each after its length."""

    def __init__(self, data: mmap.mmap, starts: array[int]) -> None:
        self._data = data
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        start = self._starts[at]
        return self._data[start + 8 : start + 8 + _LENGTH(self._data, start)[0]].decode()
