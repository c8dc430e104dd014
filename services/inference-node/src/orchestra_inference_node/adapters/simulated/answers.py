"""What a simulated model says: for every prompt a tree of code lines, of which each answer is a path.

A path is fixed by what it begins with; no text is kept anywhere. At each line there are a few ways to go on,
each with a first token of its own, so that the probability of a token is that of the ways that it opens.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

from orchestra_inference_node.adapters.simulated.declared import Answers
from orchestra_inference_node.adapters.simulated.words import NAMES, VERBS, ids_of

_WAYS = 4
_ECHO = 4
_COMMENT = ids_of(" #")
_NEXT_LINE = ids_of("\n    ")
_LINES = (
    "{a} = {f}({b}, {c})",
    "{a} = {b} + {c}",
    "{a}.{f}({b})",
    "{a}[{b}] = {c}",
    "{a}, {b} = {b}, {c}",
    "{a} = {b} - {f}({c})",
    "{a} += {f}({b})",
    "{a} = [{b}, {c}]",
)
# what begins the own answers never begins those of a family
_OWN_FIRST, _FAMILY_FIRST = VERBS[:16], VERBS[16:]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to go on: its text, how likely it is beside the others, and what follows. `leaves` is how
    many answers it leads to; None: without bound."""

    line: str
    first: int
    """The token that tells it from the others."""
    weight: float
    state: bytes
    leaves: int | None

    @property
    def tokens(self) -> tuple[int, ...]:
        """Of the line, the first included."""
        return ids_of(self.line)


@dataclass(frozen=True, slots=True)
class Fork:
    """A line that is to come: tokens that all ways share, then the ways. Their first tokens differ."""

    lead: tuple[int, ...]
    ways: tuple[Way, ...]


class AnswerTree:
    """All answers to one prompt."""

    def __init__(self, declared: Answers, prompt_ids: Sequence[int], prompt: str) -> None:
        """`prompt` is the text of the ids."""
        self._declared = declared
        self._key = array("q", prompt_ids).tobytes()
        # in the first line, so that answers show characters that tokens cut
        strange = dict.fromkeys(one for one in prompt if not one.isascii() and one != "\ufffd")
        self._echo = "".join([f" {one}" for one in strange][:_ECHO])

    def root(self) -> Fork:
        """The first line."""
        said = self._declared
        every = said.distinct
        shared = None if every is None else round(every * said.share)
        share = said.share if every is None or shared is None else shared / every
        ways: list[Way] = []
        if share < 1:
            own = None if every is None or shared is None else every - shared
            ways += self._first(b"own", said.own, own, 1 - share, _OWN_FIRST)
        if share > 0:
            ways += self._first(b"family", said.family, shared, share, _FAMILY_FIRST)
        return Fork(_COMMENT, tuple(ways))

    def after(self, way: Way) -> Fork:
        """The line after a way."""
        firsts = _some(way.state, NAMES)
        lines = [
            _LINES[one[0] % len(_LINES)].format(
                a=firsts[at], b=_word(one[1], NAMES), c=_word(one[2], NAMES), f=_word(one[3], VERBS)
            )
            for at, one in enumerate(_digests(way.state))
        ]
        return Fork(_NEXT_LINE, _ways(way.state, firsts, lines, way.leaves, self._declared.skew))

    def _first(
        self, kind: bytes, seed: str, leaves: int | None, share: float, firsts: tuple[str, ...]
    ) -> list[Way]:
        state = _hash(kind, seed.encode(), self._key)
        verbs = [f" {verb}" for verb in _some(state, firsts)]
        lines = [
            f"{verbs[at]} {_word(one[0], NAMES)} by {_word(one[1], NAMES)}{self._echo}"
            for at, one in enumerate(_digests(state))
        ]
        ways = _ways(state, verbs, lines, leaves, self._declared.skew)
        whole = sum(way.weight for way in ways)
        return [replace(way, weight=share * way.weight / whole) for way in ways]


def _ways(
    state: bytes, firsts: list[str], lines: list[str], leaves: int | None, skew: float
) -> tuple[Way, ...]:
    """Ways of lines that begin with the words `firsts`."""
    count = len(lines) if leaves is None else min(len(lines), leaves)
    each, more = (0, 0) if leaves is None else divmod(leaves, count)
    out = []
    for at in range(count):
        below = None if leaves is None else each + (at < more)
        weight = (1 if below is None else below) * exp(-skew * at)
        (first,) = ids_of(firsts[at])
        out.append(Way(lines[at], first, weight, _hash(state, bytes([at])), below))
    return tuple(out)


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "little") + part)
    return digest.digest()


def _digests(state: bytes) -> list[bytes]:
    """A few random bytes for each way."""
    return [state[at * 4 : at * 4 + 4] for at in range(_WAYS)]


def _some(state: bytes, words: tuple[str, ...]) -> list[str]:
    """As many different words as there are ways; there is a power of two of them to choose from."""
    begin, step = state[0], state[1] | 1
    return [words[(begin + at * step) % len(words)] for at in range(_WAYS)]


def _word(byte: int, words: tuple[str, ...]) -> str:
    return words[byte % len(words)]
