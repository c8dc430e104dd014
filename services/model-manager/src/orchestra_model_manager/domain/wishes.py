"""What is wanted: which model on which node, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class WishSource(Enum):
    """Who wants it. A deployment's own placements come before what a phase asks for."""

    DEPLOYMENT = "the deployment's placements"
    SWAP = "a swap"
    PHASE = "the phase"


@dataclass(frozen=True, slots=True)
class Wish:
    """One model on one node. A pinned one is left alone by phases."""

    model: str
    node_id: str
    device_ids: tuple[str, ...] = ()
    pinned: bool = False
    source: WishSource = WishSource.DEPLOYMENT

    @property
    def placement_id(self) -> str:
        return placement_id(self.node_id, self.model)


def placement_id(node_id: str, model: str) -> str:
    """Stable over restarts: node and model."""
    return f"{node_id}/{model}"


@dataclass(frozen=True, slots=True)
class Swapped:
    """What swaps have changed about the deployment's placements: pairs of node and model."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()

    def load(self, node_id: str, model: str) -> Swapped:
        pair = (node_id, model)
        return Swapped(
            added=tuple(dict.fromkeys((*self.added, pair))),
            removed=tuple(one for one in self.removed if one != pair),
        )

    def unload(self, node_id: str, model: str) -> Swapped:
        pair = (node_id, model)
        return Swapped(
            added=tuple(one for one in self.added if one != pair),
            removed=tuple(dict.fromkeys((*self.removed, pair))),
        )


def wanted(deployment: Iterable[Wish], swapped: Swapped, phase: Iterable[Wish]) -> tuple[Wish, ...]:
    """Every wish once: the deployment's without what was swapped out, then swaps, then the phase's."""
    removed = set(swapped.removed)
    wishes = [wish for wish in deployment if (wish.node_id, wish.model) not in removed]
    wishes += [Wish(model, node_id, source=WishSource.SWAP) for node_id, model in swapped.added]
    wishes += [wish for wish in phase if (wish.node_id, wish.model) not in removed]
    first: dict[str, Wish] = {}
    for wish in wishes:
        first.setdefault(wish.placement_id, wish)
    return tuple(first.values())
