"""Vectors of texts from the words in them: the same words, the same direction."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from math import sqrt

_WORD = re.compile(r"\w+|[^\w\s]")


def vector(text: str, size: int) -> list[float]:
    """A vector of unit length. Every word adds to a few of its places."""
    out = [0.0] * size
    for word in _WORD.findall(text.lower()) or [""]:
        for place, sign in _places(word, size):
            out[place] += sign
    length = sqrt(sum(one * one for one in out))
    if not length:
        # the words cancel each other out
        out[0] = length = 1.0
    return [one / length for one in out]


@lru_cache(65_536)
def _places(word: str, size: int) -> tuple[tuple[int, float], ...]:
    digest = hashlib.blake2b(word.encode(), digest_size=16).digest()
    numbers = [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4)]
    return tuple((number // 2 % size, 1.0 if number % 2 else -1.0) for number in numbers)
