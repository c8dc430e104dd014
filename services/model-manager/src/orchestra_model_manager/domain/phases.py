"""Phases and their rotation: whose turn it is, fairly, repeatably, across restarts."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RotatingGroup:
    """Models of one role. `pool` members take turns, one at a time."""

    role: str
    always: tuple[str, ...]
    pool: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """A phase with every name resolved to models. `interval_s` None: nothing rotates."""

    name: str
    purpose: str
    groups: tuple[RotatingGroup, ...]
    interval_s: float | None

    @property
    def always(self) -> tuple[str, ...]:
        return _once(model for group in self.groups for model in group.always)

    @property
    def pool(self) -> tuple[str, ...]:
        return _once(model for group in self.groups for model in group.pool)

    @property
    def evaluators(self) -> tuple[str, ...]:
        groups = (group for group in self.groups if group.role == "testing_evaluators")
        return _once(model for group in groups for model in (*group.always, *group.pool))


@dataclass(frozen=True, slots=True)
class RotationState:
    """What must survive a restart.

    `position` counts steps since the phase began; `since` is epoch seconds of the last step. `request_id` is
    that of the call that took it, so that its repeat takes no other; empty: the clock took it.
    """

    phase: str
    position: int
    seed: int
    since: float
    request_id: str = ""


def turn(group: RotatingGroup, position: int, seed: int) -> str | None:
    """The pool member whose turn it is.

    Each round of the pool is a permutation of its own, drawn from the seed, and none repeats across the seam
    of two rounds; so every member has one turn a round.
    """
    if not group.pool:
        return None
    size = len(group.pool)
    round_number, index = divmod(position, size)
    return _round(group, round_number, seed)[index]


def _round(group: RotatingGroup, number: int, seed: int) -> list[str]:
    if len(group.pool) < 3:
        return list(group.pool)
    order = _shuffled(group, number, seed)
    # swapping the first two leaves the last alone, so the round before needs no look at its own predecessor
    if number > 0 and order[0] == _shuffled(group, number - 1, seed)[-1]:
        order[0], order[1] = order[1], order[0]
    return order


def _shuffled(group: RotatingGroup, number: int, seed: int) -> list[str]:
    order = list(group.pool)
    random.Random(f"{seed}/{group.role}/{number}").shuffle(order)
    return order


def models_at(plan: PhasePlan, position: int, seed: int) -> tuple[str, ...]:
    """What the phase wants at a position: what is always loaded, and one of each pool."""
    turns = (turn(group, position, seed) for group in plan.groups)
    return _once((*plan.always, *(model for model in turns if model is not None)))


def coming_in(plan: PhasePlan, position: int, seed: int) -> tuple[str, ...]:
    """What the next step brings that is not there now."""
    if not plan.pool:
        return ()
    now = set(models_at(plan, position, seed))
    return tuple(model for model in models_at(plan, position + 1, seed) if model not in now)


def due_at(plan: PhasePlan, state: RotationState) -> float | None:
    """Epoch seconds of the next step; None without rotation."""
    return state.since + plan.interval_s if plan.interval_s is not None and plan.pool else None


def _once(models: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(models))
