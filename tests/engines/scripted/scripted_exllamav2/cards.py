"""CUDA cards that exist for torch's questions only: count, capability, memory. What is put on them is on
the CPU.

SCRIPTED_CARDS says how many (1), SCRIPTED_CARD_BYTES how much each holds (24 GiB), SCRIPTED_CAPABILITY what
they can (8.6). CUDA_VISIBLE_DEVICES counts as it does for real.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch

BYTES = int(os.environ.get("SCRIPTED_CARD_BYTES", 24 * 1024**3))
CAPABILITY = tuple(map(int, os.environ.get("SCRIPTED_CAPABILITY", "8.6").split(".")))
held: Counter[int] = Counter()
"""Bytes of weights by card."""


def count() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = int(os.environ.get("SCRIPTED_CARDS", 1))
    return listed if visible is None else len([one for one in visible.split(",") if one])


def take(card: int, size: int) -> None:
    """Raises torch's own error when it does not fit."""
    if held[card] + size > BYTES:
        raise torch.OutOfMemoryError(
            f"CUDA out of memory. Tried to allocate {size} bytes. GPU {card} has a total capacity of {BYTES} "
            f"bytes of which {BYTES - held[card]} bytes are free."
        )
    held[card] += size


def give_back(card: int, size: int) -> None:
    held[card] = max(held[card] - size, 0)


def _index(card: Any = None) -> int:
    if card is None:
        return 0
    return card if isinstance(card, int) else torch.device(card).index or 0


def _free(card: Any = None) -> tuple[int, int]:
    return BYTES - held[_index(card)], BYTES


class _Stream:
    def __init__(self, *_: Any, **__: Any) -> None: ...

    def synchronize(self) -> None: ...


def put_in() -> None:
    """Into torch.cuda, for this process."""
    stands: dict[str, Any] = {
        "device_count": count,
        "get_device_capability": lambda _=None: CAPABILITY,
        "get_device_name": lambda _=None: "scripted card",
        "get_device_properties": lambda _=None: SimpleNamespace(
            name="scripted card", major=CAPABILITY[0], minor=CAPABILITY[1], total_memory=BYTES
        ),
        "mem_get_info": _free,
        "memory_allocated": lambda card=None: held[_index(card)],
        "memory_reserved": lambda card=None: held[_index(card)],
        "synchronize": lambda _=None: None,
        "empty_cache": lambda: None,
        "set_device": lambda _: None,
        "set_stream": lambda _: None,
        "device": lambda _: nullcontext(),
        "stream": lambda _: nullcontext(),
        "Stream": _Stream,
        "is_available": lambda: count() > 0,
    }
    for name, stand in stands.items():
        setattr(torch.cuda, name, stand)
