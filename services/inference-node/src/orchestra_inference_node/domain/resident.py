"""A model that this node holds, or is about to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from orchestra_errors import OrchestraError
from orchestra_inference_node.domain.restarts import Restarts


class State(Enum):
    """Of a worker, as the contract names them."""

    STARTING = "starting"
    SERVING = "serving"
    DEGRADED = "degraded"
    DRAINING = "draining"
    NOT_SERVING = "not serving"


class Stage(Enum):
    """How far a load is."""

    VERIFYING = "verifying"
    STARTING_WORKER = "starting worker"
    LOADING_WEIGHTS = "loading weights"
    WARMING_UP = "warming up"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to load and how; two that are equal make the same worker."""

    model: str
    path: str
    engine: str
    expected_revision: str = ""
    device_ids: tuple[str, ...] = ()
    context_tokens: int | None = None
    slots: int | None = None
    quantization: str = ""
    options: tuple[tuple[str, str], ...] = ()
    chat: bool = True
    queue_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a model goes. `degraded` says what is amiss with the engine on that device, `expected_speed` what
    it does there; empty: nothing, and nobody says. `most_slots` bounds the requests at once."""

    engine: str
    device_ids: tuple[str, ...]
    degraded: str
    expected_speed: str = ""
    most_slots: int | None = None


@dataclass(slots=True)
class Resident:
    """The worker of one model as the daemon sees it.

    Times are seconds; `serving_since` is on the monotonic clock. `engine` and what follows it are empty until
    the model is placed.
    """

    wanted: Wanted
    worker_id: str
    load_began: float
    engine: str = ""
    device_ids: tuple[str, ...] = ()
    degraded: str = ""
    expected_speed: str = ""
    most_slots: int | None = None
    memory_needed: int | None = None
    """Bytes promised to it on its devices before its first process; None: nobody could say."""
    instance_id: str = ""
    address: str = ""
    state: State = State.STARTING
    reason: str = ""
    stage: Stage = Stage.VERIFYING
    bytes_done: int | None = None
    bytes_total: int | None = None
    layers_done: int | None = None
    layers_total: int | None = None
    engine_counts: bool = False
    """Whether `bytes_done` is the engine's own count."""
    revision: str = ""
    quantization: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    slots_free: int = 0
    queued: int = 0
    tokens_per_second: float | None = None
    calls: int = 0
    """Calls that the process answers."""
    tasks: int = 0
    """Tasks of its event loop, as counted a moment ago."""
    restarts: Restarts = field(default_factory=Restarts)
    serving_since: float | None = None
    load_s: float | None = None
    """From the order to load to the first process that served."""
    started_at: float = 0.0
    cut_calls: int = 0
    failure: OrchestraError | None = None
    """What the process said before it ended, when it was a kind of ours."""

    def placed(self, at: Placed) -> None:
        """It is decided where the model goes."""
        self.engine, self.device_ids = at.engine, at.device_ids
        self.degraded, self.expected_speed, self.most_slots = at.degraded, at.expected_speed, at.most_slots

    @property
    def slots_wanted(self) -> int | None:
        """As the spec says, within what the engine can do on its devices; None: the engine's default."""
        if self.most_slots is None:
            return self.wanted.slots
        return min(self.wanted.slots or self.most_slots, self.most_slots)

    def starts(self, instance_id: str, now: float) -> None:
        """A new process is about to hold the model; `now` is wall time."""
        self.instance_id = instance_id
        self.address = ""
        self.state = State.STARTING
        self.stage = Stage.STARTING_WORKER
        self.layers_done = self.layers_total = None
        self.engine_counts = False
        self.facts = {}
        self.serving_since = None
        self.started_at = now

    def loaded(self, moved: Mapping[str, object]) -> None:
        """The engine says how far it is; what it does not count stays as it was seen from outside."""
        for name in ("bytes_done", "bytes_total", "layers_done", "layers_total"):
            if isinstance(count := moved.get(name), int):
                setattr(self, name, count)
                self.engine_counts |= name == "bytes_done"

    def busy(self, calls: object, tasks: object) -> None:
        """The process says what it does."""
        if isinstance(calls, int) and isinstance(tasks, int):
            self.calls, self.tasks = calls, tasks

    def serves(self, address: str, facts: dict[str, Any], now: float) -> None:
        """The process answers; `now` is monotonic."""
        self.address = address
        self.facts = facts
        self.slots_free = facts["slots"]
        self.queued = 0
        self.serving_since = now
        if self.load_s is None:
            self.load_s = now - self.load_began
        self.stage = Stage.READY
        if self.restarts.too_often:
            self.state, self.reason = State.DEGRADED, f"died {self.restarts.in_row} times in a row"
        elif self.degraded:
            self.state, self.reason = State.DEGRADED, self.degraded
        else:
            self.state, self.reason = State.SERVING, ""

    def died(self, because: str, now: float) -> None:
        """The process is gone and another will follow; `now` is monotonic."""
        lived = 0.0 if self.serving_since is None else now - self.serving_since
        self.restarts = self.restarts.after_death(lived)
        self.address = ""
        self.slots_free = self.queued = self.calls = self.tasks = 0
        self.tokens_per_second = None
        self.state = State.NOT_SERVING
        self.reason = f"{because}; starts again in {self.restarts.wait_s:g} s"

    @property
    def usable(self) -> bool:
        return self.state in (State.SERVING, State.DEGRADED) and bool(self.address)
