"""Seeds of samples: repeatable from one seed, and different for every sample."""

from __future__ import annotations

import secrets

SEED_LIMIT = 2**31
"""Drawn and derived seeds lie below: every engine and provider takes 31 bits."""

_SAMPLES = 4096
_OFFSET = 1_327_217_885


def seed_of_sample(seed: int, index: int, n: int) -> int:
    """The seed that sample `index` of `n` draws with: one sample alone draws with the seed as given."""
    return seed if n == 1 and index == 0 else derive_seed(seed, index)


def derive_seed(seed: int, index: int) -> int:
    """The seed of sample `index` (0 to 4,095), counted over the whole request and not over one hop.

    Derived seeds of one seed are distinct and none is the seed itself. They are consecutive, since engines
    that fork a computed prompt count their forks' seeds up; each seed below 500,000 has a range of its own.
    """
    base = (_fold(seed) * _SAMPLES + _OFFSET) % SEED_LIMIT
    if (seed - base) % SEED_LIMIT < _SAMPLES:
        base += SEED_LIMIT // 2
    return (base + index) % SEED_LIMIT


def seed_in_range(seed: int) -> int:
    """The seed that an engine draws with: itself below SEED_LIMIT, otherwise folded into that range.

    Drawing with the folded seed draws the same, so it is the one that provenance names.
    """
    return _fold(seed)


def random_seed() -> int:
    """A fresh seed below SEED_LIMIT."""
    return secrets.randbelow(SEED_LIMIT)


def _fold(seed: int) -> int:
    return seed if seed < SEED_LIMIT else (seed ^ (seed >> 31) ^ (seed >> 62)) % SEED_LIMIT
