"""Seeds of samples: repeatable from one seed, and different for every sample."""

from __future__ import annotations

import secrets

SEED_LIMIT = 2**31
"""Drawn and derived seeds lie below: every engine and provider takes 31 bits."""

# The odd number nearest to 2^31 / golden ratio. Multiples of it stay far apart modulo 2^31, so the 4,096
# samples of one seed are distinct, and distinct from those of every other seed less than 200,000 away.
_STRIDE = 1_327_217_885


def derive_seed(seed: int, index: int) -> int:
    """The seed of sample `index`, counted over the whole request and not over one hop.

    Index 0 draws with `seed` itself.
    """
    if index == 0:
        return seed
    return (_fold(seed) + index * _STRIDE) % SEED_LIMIT


def random_seed() -> int:
    """A fresh seed below SEED_LIMIT."""
    return secrets.randbelow(SEED_LIMIT)


def _fold(seed: int) -> int:
    return seed if seed < SEED_LIMIT else (seed ^ (seed >> 31) ^ (seed >> 62)) % SEED_LIMIT
