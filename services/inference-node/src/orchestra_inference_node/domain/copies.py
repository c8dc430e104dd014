"""What became of copying a model's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copied:
    """`anew` is False when the copy was there already. `digests` are sha256 by name within the folder."""

    bytes_total: int
    anew: bool
    digests: Mapping[str, str]
