"""A language model that is a rule: the next token follows from all tokens before it, and nothing is drawn
by chance.

Told to say something, it says it and ends. In a chat it answers with a few words and ends. Otherwise it
goes on with words for ever. `checkpoint` writes the tokenizer that it speaks with.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BEGIN, END, USER, ASSISTANT, SAY, DONE, FAIL, EXHAUST = range(8)
SPECIAL = (
    "<|begin|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|say|>",
    "<|done|>",
    "<|fail|>",
    "<|exhaust|>",
)
"""`<|say|>some text<|done|>` is what to say; FAIL breaks the forward that decodes after it, EXHAUST the one
that reads it, out of memory."""

_SURE = 14.0
_NEVER = -30.0

Ids = NDArray[np.int64]


class Language:
    """Logits over `vocabulary` ids, of which it speaks `words`."""

    def __init__(self, vocabulary: int, words: Sequence[int], seed: int, strays: int) -> None:
        """`strays`: after so many tokens it is of another mind, as a draft model is; 0: never."""
        self._vocabulary = vocabulary
        self._words = np.array(words)
        self._seed = seed
        self._strays = strays

    @classmethod
    def of(cls, folder: str, vocabulary: int) -> Language:
        """As config.json in the folder says under "scripted"."""
        said: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text())["scripted"]
        return cls(vocabulary, said["words"], said["seed"], said["strays"])

    def see(self, contexts: Sequence[Ids]) -> None:
        """Raises MemoryError's kin of CUDA when a context asks for it."""
        import torch

        if any(EXHAUST in context for context in contexts):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def logits(self, context: Ids) -> NDArray[np.float32]:
        """Of the token after `context`, shape (vocabulary,). Raises RuntimeError when the context asks for
        it."""
        if FAIL in context:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        digest = zlib.crc32(np.ascontiguousarray(context, np.int64).tobytes(), self._seed)
        if self._strays and len(context) % self._strays == 0:
            digest ^= 1
        found = np.full(self._vocabulary, -12.0, np.float32)
        drawn = np.random.Generator(np.random.Philox(digest)).standard_normal(len(self._words))
        found[self._words] = 2 * drawn
        found[: len(SPECIAL)] = _NEVER
        told = self._told(context)
        if told is not None:
            found[told] = _SURE
        return found

    def _told(self, context: Ids) -> int | None:
        """The token that has to come."""
        if len(done := np.flatnonzero(context == DONE)):
            begin = np.flatnonzero(context[: done[-1]] == SAY)[-1] + 1
            text, at = context[begin : done[-1]], len(context) - done[-1] - 1
            return int(text[at]) if at < len(text) else END
        if len(asked := np.flatnonzero(context == ASSISTANT)):
            answered = len(context) - asked[-1] - 1
            return END if answered >= 5 + zlib.crc32(context[: asked[-1]].tobytes()) % 10 else None
        return None
