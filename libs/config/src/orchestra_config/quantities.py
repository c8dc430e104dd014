"""Quantities as the paper writes them: `48GB`, `~500MB`, `10M tokens`, `12 hours`, `30 tokens/sec`."""

from __future__ import annotations

import re
from decimal import Decimal

from .frozen import parse_bytes

_TOKENS = re.compile(r"^~?(\d+(?:\.\d+)?)\s*([KM]?)\s*tokens$", re.IGNORECASE)
_HOURS = re.compile(r"^(\d+(?:\.\d+)?)\s*(hours?|days?)$")
_SPEED = re.compile(r"^(\d+(?:\.\d+)?)\s*tokens/s(?:ec)?$")


def bytes_of(text: str) -> int:
    """`22.5GB` → 22,500,000,000. Raises ValueError."""
    size = parse_bytes(text)
    if not isinstance(size, int):
        raise ValueError(f"{text!r} is not a size")
    return size


def tokens_of(text: str) -> int:
    """`10M tokens` → 10,000,000. Raises ValueError."""
    number, scale = _matched(_TOKENS, text, "a number of tokens")
    return int(Decimal(number) * {"": 1, "K": 1_000, "M": 1_000_000}[scale.upper()])


def hours_of(text: str) -> float:
    """`12 hours` → 12.0, `30 days` → 720.0. Raises ValueError."""
    number, unit = _matched(_HOURS, text, "a time in hours or days")
    return float(number) * (24 if unit.startswith("day") else 1)


def tokens_per_s_of(text: str) -> float:
    """`30 tokens/sec` → 30.0. Raises ValueError."""
    return float(_matched(_SPEED, text, "a speed in tokens/sec")[0])


def _matched(pattern: re.Pattern[str], text: str, what: str) -> tuple[str, ...]:
    if not (match := pattern.match(text.strip())):
        raise ValueError(f"{text!r} is not {what}")
    return match.groups()
