"""Whether a safetensors file is whole. Reads its head only."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from orchestra_errors import DataLoss

_LENGTH = struct.Struct("<Q")
# as the format's own reader has it
_MOST_HEAD = 100_000_000


def check(path: Path) -> None:
    """Raises DataLoss for a file that is cut short or is none, OSError when it cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_LENGTH.size)
        length = _LENGTH.unpack(first)[0] if len(first) == _LENGTH.size else 0
        if not 2 <= length <= min(_MOST_HEAD, size):
            raise DataLoss(str(path), "it does not begin as a safetensors file does")
        try:
            head = json.loads(file.read(length))
            ends = [one["data_offsets"][1] for name, one in head.items() if name != "__metadata__"]
            end = max(ends, default=0)
            whole = _LENGTH.size + length + end == size
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise DataLoss(str(path), "its head cannot be read") from error
    if not whole:
        raise DataLoss(str(path), "its size is not that of its tensors")
