"""Which texts are computed together."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Positions of texts of those lengths. No batch has more than `most` tokens with its padding, nor more
    padding than text; a text that is longer makes one of its own."""
    out: list[list[int]] = []
    held = 0
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        # the longest comes last: it says how wide all of them are
        padded = (len(out[-1]) + 1) * lengths[at] if out else 0
        if out and padded <= min(most, 2 * (held + lengths[at])):
            out[-1].append(at)
            held += lengths[at]
        else:
            out.append([at])
            held = lengths[at]
    return out
