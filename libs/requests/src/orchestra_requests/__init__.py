"""What makes a GenerationRequest right, whoever answers it: checks, neutral defaults, seeds.

Pure: no clock, no await. `random_seed` alone draws from the operating system.
"""

from orchestra_requests.request import check_generation
from orchestra_requests.sampling import is_deterministic, is_neutral, sampling_defaults
from orchestra_requests.seeds import SEED_LIMIT, derive_seed, random_seed, seed_in_range, seed_of_sample

__all__ = [
    "SEED_LIMIT",
    "check_generation",
    "derive_seed",
    "is_deterministic",
    "is_neutral",
    "random_seed",
    "sampling_defaults",
    "seed_in_range",
    "seed_of_sample",
]
