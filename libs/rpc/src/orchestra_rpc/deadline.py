"""Time is handed down and only shrinks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

OUTGOING_MARGIN_S = 0.01
"""Kept back from each outgoing call, so that its failure can still be explained upwards."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    def minus(self, seconds: float) -> Deadline:
        """The same point, `seconds` earlier."""
        return Deadline(self.at - seconds)

    @property
    def expired(self) -> bool:
        return self.remaining() == 0.0


_current: ContextVar[Deadline | None] = ContextVar("orchestra_deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the call that is being answered; None outside a call and in open-ended ones."""
    return _current.get()


@contextmanager
def deadline_scope(deadline: Deadline | None) -> Iterator[None]:
    """What runs inside spends this deadline; None lifts the one outside (work that outlives its call)."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def outgoing_timeout(asked: float | None) -> float | None:
    """Seconds that an outgoing call may take: what was asked for, and at most what is left here."""
    deadline = _current.get()
    if deadline is None:
        return asked
    left = deadline.minus(OUTGOING_MARGIN_S).remaining()
    return left if asked is None else min(asked, left)


def trimmed(client_left: float) -> float:
    """How long a handler may run so that its answer reaches a caller who waits `client_left` seconds."""
    return max(0.0, client_left - min(0.25, max(0.01, client_left * 0.05)))
