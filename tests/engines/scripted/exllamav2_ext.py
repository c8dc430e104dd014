"""The functions of exllamav2's compiled extension that run on the host, in Python.

exllamav2 imports a module of this name before it would compile its own. Only what the generator, the
sampler and the caches call is here: whatever else the engine reaches for is an AttributeError. `sampling`
does the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scripted_exllamav2 import sampling

Bytes = NDArray[np.uint8]
apply_rep_penalty = sampling.apply_rep_penalty
sample_basic = sampling.sample_basic


def partial_strings_match(match: Bytes, offsets: Bytes, strings: Bytes) -> int:
    """Where in `match` the first of the strings that is found whole begins; -2 where it ends with the
    beginning of one, -1 for neither. All are UTF-32, `offsets` in bytes."""
    text = np.frombuffer(match, np.uint32).tolist()
    bounds = (np.frombuffer(offsets, np.uint32) // 4).tolist()
    packed = np.frombuffer(strings, np.uint32).tolist()
    for begin, end in pairwise(bounds):
        wanted = packed[begin:end]
        for at in range(len(text)):
            seen = text[at : at + len(wanted)]
            if seen == wanted[: len(seen)]:
                return at if len(seen) == len(wanted) else -2
    return -1


def count_match(a: torch.Tensor, b: torch.Tensor, max_a: int) -> int:
    """How many tokens from the left are the same, of the first `max_a`."""
    length = min(max_a, b.shape[1])
    same = a.reshape(-1)[:length] == b.reshape(-1)[:length]
    return int(same.to(torch.long).cumprod(0).sum())


def logit_filter_exclusive(mask: torch.Tensor, exclusive_lists: Sequence[Sequence[int]]) -> None:
    """Leaves of each row what its list of ascending ids allows."""
    if mask.shape[0] != len(exclusive_lists):
        raise RuntimeError("Number of lists does not match batch size")
    for row, allowed in zip(mask, exclusive_lists, strict=True):
        keep = torch.zeros_like(row)
        keep[list(allowed)] = True
        row &= keep


def fast_fill_cpu_ones_bool(tensor: torch.Tensor) -> None:
    tensor.fill_(True)


def fast_fadd_cpu(a: torch.Tensor, b: torch.Tensor) -> None:
    a += b.view(-1)


def cache_rotate(cache: torch.Tensor, order: torch.Tensor, temp: torch.Tensor) -> None:
    """Moves pages: each of `order` takes the content of the next, the last that of the first."""
    if temp.nbytes != cache[0].nbytes:
        raise RuntimeError("temp tensor incorrect size")
    cache[order.long()] = cache[order.long().roll(-1)]


def stloader_read(filename: str, offset: int, size: int, target: torch.Tensor) -> None:
    """Reads one tensor of a safetensors file."""
    with open(filename, "rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != target.nbytes:
        raise RuntimeError(f"{filename} ends before its tensors do")
    target.copy_(torch.frombuffer(bytearray(data), dtype=target.dtype).view(target.shape))
