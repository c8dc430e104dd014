"""What the page shows, computed from rows. Absent figures stay absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]


@dataclass(slots=True)
class ModelFigures:
    """Of one model. Money in nano-dollars, over samples whose cost is known; speeds in tokens per second and
    waits in seconds, one for each sample that was drawn in this run."""

    name: str
    samples: int = 0
    from_cache: int = 0
    tokens: int = 0
    distinct: int = 0
    speeds: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    cost: int = 0
    unknown_cost: int = 0
    saved: int = 0
    electricity: int = 0
    hardware: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    engines: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class TaskFigures:
    """Of one task: its rows in the order of their indexes, and how different they are."""

    task_id: str
    prompt: Any
    rows: list[Row]
    diversity: Mapping[str, Any]
    selected: Sequence[int]

    @property
    def measures(self) -> dict[str, float]:
        """Effective number of different answers by measure; those not taken are absent."""
        return {
            one["name"]: float(one["effective_number"])
            for one in self.diversity.get("measures", ())
            if "effective_number" in one
        }

    @property
    def distinct(self) -> int:
        return len({row.get("text", "") for row in self.rows})

    @property
    def cost(self) -> int:
        return sum(_cost(row).get("nanos", 0) for row in self.rows)


@dataclass(slots=True)
class Payment:
    """Something was paid: seconds after the first event, and nano-dollars."""

    at: float
    model: str
    nanos: int


@dataclass(slots=True)
class Figures:
    """All of a page."""

    models: list[ModelFigures]
    tasks: list[TaskFigures]
    payments: list[Payment]
    run_id: str
    started_at: str
    seconds: float | None

    @property
    def samples(self) -> int:
        return sum(model.samples for model in self.models)

    @property
    def distinct(self) -> int:
        """Different texts, task by task, whoever wrote them."""
        return sum(task.distinct for task in self.tasks)

    @property
    def repeated(self) -> int:
        """Samples whose text another sample of the same task and model had before."""
        return self.samples - sum(model.distinct for model in self.models)


def figures_of(rows: Iterable[Row], summary: Mapping[str, Any]) -> Figures:
    """Models in the order of their names, tasks in the order of their first row."""
    models: dict[str, ModelFigures] = {}
    by_task: dict[str, list[Row]] = {}
    texts: dict[str, set[tuple[str, str]]] = {}
    ends: list[tuple[float, str, int]] = []
    for row in rows:
        name = str(row.get("model", "")) or "unknown"
        model = models.setdefault(name, ModelFigures(name))
        task = str(row.get("task_id", ""))
        by_task.setdefault(task, []).append(row)
        texts.setdefault(name, set()).add((task, row.get("text", "")))
        _add(model, row)
        end = _end(row)
        if end is not None and not stored(row) and "nanos" in _cost(row):
            ends.append((end, name, _cost(row)["nanos"]))
    for name, model in models.items():
        model.distinct = len(texts[name])
    first = min((end for end, _, _ in ends), default=0.0)
    start = _moment(summary.get("started_at")) or first
    known = summary.get("tasks", {})
    return Figures(
        models=[models[name] for name in sorted(models)],
        tasks=[_task(task, its, known.get(task, {})) for task, its in by_task.items()],
        payments=[
            Payment(max(0.0, end - min(start, first)), name, nanos) for end, name, nanos in sorted(ends)
        ],
        run_id=str(summary.get("run_id", "")),
        started_at=str(summary.get("started_at", "")),
        seconds=summary.get("seconds"),
    )


def stored(row: Row) -> bool:
    """Whether the sample was not drawn for this run."""
    outcome = row.get("provenance", {}).get("cache", {}).get("outcome", "")
    return outcome in ("CACHE_OUTCOME_STORED", "CACHE_OUTCOME_REPLAYED")


def seconds_of(duration: str | None) -> float | None:
    """Of a duration in protobuf's JSON, `1.5s`."""
    return float(duration.removesuffix("s")) if duration else None


def median(values: Sequence[float]) -> float | None:
    """None of none."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return None
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _add(model: ModelFigures, row: Row) -> None:
    model.samples += 1
    model.reasons[str(row.get("finish_reason", "")).removeprefix("FINISH_REASON_").lower()] += 1
    provenance = row.get("provenance", {})
    engine = " ".join(filter(None, (provenance.get("engine"), provenance.get("quantization"))))
    if engine:
        model.engines[engine] += 1
    tokens = row.get("usage", {}).get("completion_tokens", 0)
    model.tokens += tokens
    cost = _cost(row)
    if "nanos" in cost:
        model.cost += cost["nanos"]
    else:
        model.unknown_cost += 1
    model.saved += cost.get("saved_nanos", 0)
    model.electricity += cost.get("electricity_nanos", 0)
    model.hardware += cost.get("hardware_nanos", 0)
    if stored(row):
        model.from_cache += 1
        return
    timings = row.get("timings", {})
    total = seconds_of(timings.get("total"))
    work = (total or 0.0) - (seconds_of(timings.get("queued")) or 0.0)
    if tokens and work > 0:
        model.speeds.append(tokens / work)
    wait = seconds_of(timings.get("to_first_token"))
    if wait is not None:
        model.waits.append(wait)


def _task(task_id: str, rows: list[Row], summary: Mapping[str, Any]) -> TaskFigures:
    ordered = sorted(rows, key=lambda row: row.get("sample_index", 0))
    return TaskFigures(
        task_id=task_id,
        prompt=rows[0].get("prompt", ""),
        rows=ordered,
        diversity=summary.get("diversity") or {},
        selected=summary.get("selected") or (),
    )


def _cost(row: Row) -> Mapping[str, Any]:
    cost: Mapping[str, Any] = row.get("cost") or {}
    return cost


def _end(row: Row) -> float | None:
    timings = row.get("timings") or {}
    start = _moment(timings.get("started_at"))
    total = seconds_of(timings.get("total"))
    return None if start is None or total is None else start + total


def _moment(text: Any) -> float | None:
    """Seconds since the epoch of an RFC 3339 time."""
    if not text:
        return None
    whole, _, rest = str(text).partition(".")
    # protobuf writes nanoseconds, datetime reads microseconds
    digits = "".join(one for one in rest if one.isdigit()) if rest.endswith("Z") else ""
    text = f"{whole}.{digits[:6]:0<6}+00:00" if digits else str(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
