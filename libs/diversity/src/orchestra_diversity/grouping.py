"""Which samples say the same."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from .selection import Rows

Groups = tuple[tuple[int, ...], ...]
# Programs of 10 to 40 lines: disguised copies were at 0.98 and above, one changed operator at 0.96 and below.
NEAR_DUPLICATE = 0.97


def near_duplicates(similarity: Rows, threshold: float = NEAR_DUPLICATE) -> Groups:
    """A partition: samples joined by a chain of pairs at or above the threshold, each group and all in
    order."""
    n = len(similarity)
    group = list(range(n))
    for i in range(n):
        row = similarity[i]
        for j in range(i):
            if row[j] >= threshold and group[i] != group[j]:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if label == old else label for label in group]
    return equal_groups(group)


def equal_groups(values: Sequence[Hashable]) -> Groups:
    """A partition of the positions by equal values, in order of first appearance."""
    members: dict[Hashable, list[int]] = {}
    for position, value in enumerate(values):
        members.setdefault(value, []).append(position)
    return tuple(tuple(group) for group in members.values())
