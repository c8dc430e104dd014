"""Sample indexes as runs without gaps: one call to a worker draws one run."""

from __future__ import annotations

from collections.abc import Iterable


def runs(indexes: Iterable[int], longest: int | None = None) -> list[range]:
    """The indexes as ascending ranges, as few as there can be with at most `longest` in each (None or 0: no
    bound)."""
    found: list[range] = []
    for index in sorted(set(indexes)):
        if found and found[-1].stop == index and not (longest and len(found[-1]) >= longest):
            found[-1] = range(found[-1].start, index + 1)
        else:
            found.append(range(index, index + 1))
    return found
