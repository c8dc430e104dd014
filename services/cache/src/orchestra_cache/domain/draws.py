"""What is stored and what is asked, as plain values. Times are milliseconds of the store's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Draw:
    """One independent draw on its way into the store."""

    sample_id: str
    text_digest: bytes
    """Equal for equal answers; tells distinct texts apart without reading them."""
    cost_nanos: int | None
    """What it would cost to make again; None when that is not known."""
    payload: bytes
    """The events, serialized."""


@dataclass(frozen=True, slots=True)
class StoredDraw:
    """One draw as it comes out of the store."""

    payload: bytes
    stored_at_ms: int
    position: int
    """From 1, among the draws that the set holds."""
    total: int
    cost_nanos: int | None


@dataclass(frozen=True, slots=True)
class Topic:
    """A sample set: its key, and what it can be found by when it is to be forgotten."""

    key: str
    """Hex digest of the canonical subject."""
    tenant: str
    model: str
    has_revision: bool
    deterministic: bool
    """There is one answer, so at most one draw is kept."""
    whole_answer: bool = True
    """False when the request ties each text to its index (seeded, several samples): a set cannot answer
    that."""

    @property
    def keeps_draws(self) -> bool:
        return self.has_revision and self.whole_answer


class Serving(Enum):
    """What a request's policy lets stored draws do."""

    SERVE = "serve"
    NOTHING = "nothing"
    """Neither read nor forgotten."""
    FORGET = "forget"
    """The stored draws go, and the set is drawn anew."""


@dataclass(frozen=True, slots=True)
class Policy:
    serving: Serving = Serving.SERVE
    max_age_ms: int | None = None
    min_distinct: int = 0
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """The record of a request id. `token` names this one try at it, so that a repeat of the same command
    knows itself."""

    tenant: str
    request_id: str
    digest: bytes
    token: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """One lookup."""

    topic: Topic
    n: int
    policy: Policy
    rollout_id: str = ""
    replay: Replay | None = None
    want_lease: bool = False
    owner: str = ""


class ReplayState(Enum):
    NEW = "new"
    RUNNING = "running"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class Lease:
    key: str
    fence: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a set held at the moment of a lookup, beside what was served."""

    total: int = 0
    """Draws in the set."""
    eligible: int = 0
    """Of these, young enough for the request and whole."""
    distinct: int = 0
    """Distinct texts among the eligible."""
    served_before: int = 0
    """Eligible draws that the rollout has had."""
    repeats_skipped: int = 0
    """Eligible draws left out because their text was served already, where distinct texts were asked for."""
    damaged: int = 0
    """Draws that were read and could not be used."""


@dataclass(frozen=True, slots=True)
class Found:
    draws: Sequence[StoredDraw]
    seen: Seen
    replay: ReplayState
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Deposit:
    """One store: draws for a set, the record of a request id, or both."""

    topic: Topic
    draws: Sequence[Draw]
    rollout_id: str = ""
    run_id: str = ""
    replay: Replay | None = None
    replay_draws: Sequence[Draw] = ()
    fence: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a deposit."""

    stored: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What to forget; fields that are set are joined by and."""

    key: str = ""
    model: str = ""
    tenant: str = ""
    run_id: str = ""
    older_than_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Forgotten:
    sets: int
    """Sets from which something was forgotten."""
    samples: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store holds now."""

    sets: int
    samples: int
    used_bytes: int
    max_bytes: int
    """0: the store has no limit of its own."""
    evicted: int
    """Keys that the store gave up for want of room, since it started."""
    store: str
    """Its kind and version."""
