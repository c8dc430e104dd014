"""What the choice would be, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestra.generation.v1 import request_pb2

from ..domain.choosing import Choice, Refusal
from ..domain.speeds import expected
from ..domain.targets import ModelFacts, Snapshot, Target
from ..ports import Names, Snapshots
from .intake import Intake
from .journey import Guide
from .pricing import likely_local


@dataclass(frozen=True, slots=True)
class Explained:
    """The choice as it would be made now; `age_s` of the placements, None when none were ever heard.

    `latency_s` and `local_nanos` by target key, of one sample; absent where nobody measured.
    """

    choice: Choice | Refusal
    phase: str
    age_s: float | None
    latency_s: Mapping[str, float] = field(default_factory=dict)
    local_nanos: Mapping[str, int] = field(default_factory=dict)


class ExplainFlow:
    """Chooses without generating."""

    def __init__(self, intake: Intake, guide: Guide) -> None:
        self._intake = intake
        self._guide = guide

    def __call__(self, generation: request_pb2.GenerationRequest) -> Explained:
        """Raises InvalidRequest or NotFound for a request that no choice can be made for."""
        job = self._intake.job(generation)
        seen = self._guide.snapshots.current()
        age = None if seen.heard_at is None else max(0.0, self._guide.clock() - seen.heard_at)
        choice, load = self._guide.weigh(job), self._guide.traffic.load()
        latency: dict[str, float] = {}
        nanos: dict[str, int] = {}
        for target in (one.target for one in choice.weighed):
            if (likely := expected(job, target, load)) is None:
                continue
            latency[target.key] = likely.latency_s
            if (cost := likely_local(self._guide.prices, target, likely.device_s)) is not None:
                nanos[target.key] = cost
        return Explained(choice, job.phase, age, latency, nanos)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model and the targets that answer, or might, for it."""

    facts: ModelFacts
    targets: tuple[Target, ...]


class ListModelsFlow:
    """Everything that the catalogue or the placements know, by name."""

    def __init__(self, names: Names, snapshots: Snapshots) -> None:
        self._names = names
        self._snapshots = snapshots

    def __call__(self, *, serving_only: bool, after: str, limit: int) -> tuple[list[Listed], str]:
        """At most `limit` models whose name follows `after`, and the cursor of the next page (empty: the
        end)."""
        seen: Snapshot = self._snapshots.current()
        facts = dict(self._names.models)
        by_model: dict[str, list[Target]] = {}
        for target in seen.targets:
            by_model.setdefault(target.model, []).append(target)
            facts.setdefault(target.model, seen.facts(target.model))
        rows: list[Listed] = []
        for name in sorted(facts):
            targets = tuple(by_model.get(name, ()))
            if name <= after or (serving_only and not any(target.serving for target in targets)):
                continue
            if len(rows) == limit:
                return rows, rows[-1].facts.name
            rows.append(Listed(facts[name], targets))
        return rows, ""
