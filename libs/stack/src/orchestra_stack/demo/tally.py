"""Counts of a run while it goes on and when it is over. No clock of its own: it is handed the time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WHOLE = frozenset({"FINISH_REASON_STOP", "FINISH_REASON_STOP_SEQUENCE", "FINISH_REASON_MAX_TOKENS"})
"""Ends of a whole answer: the model's own, a stop text's, or the request's max_tokens."""

_WINDOW_S = 5.0


@dataclass(slots=True)
class ModelTally:
    """Of one model. `cost_nanos` in nano-dollars, over the samples whose cost is known."""

    samples: int = 0
    from_cache: int = 0
    tokens: int = 0
    drawn_tokens: int = 0
    seconds: float = 0.0
    cost_nanos: int = 0
    cost_unknown: int = 0
    saved_nanos: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    texts: dict[str, set[str]] = field(default_factory=dict)

    @property
    def distinct(self) -> int:
        """Different texts, task by task."""
        return sum(len(texts) for texts in self.texts.values())

    @property
    def tokens_per_second(self) -> float | None:
        """Of one sample from its first token on, on average; None when nothing was drawn."""
        return self.drawn_tokens / self.seconds if self.seconds > 0 else None


class Tally:
    """`expected` samples of `tasks` tasks. Fed with rows, failures and pieces."""

    def __init__(self, tasks: int, expected: int) -> None:
        self.tasks = tasks
        self.expected = expected
        self.tasks_done = 0
        self.failures: list[str] = []
        self.models: dict[str, ModelTally] = {}
        self.sample_ids: Counter[str] = Counter()
        self._pieces: deque[tuple[float, int]] = deque()

    @property
    def samples(self) -> int:
        return sum(model.samples for model in self.models.values())

    @property
    def from_cache(self) -> int:
        return sum(model.from_cache for model in self.models.values())

    @property
    def tokens(self) -> int:
        return sum(model.tokens for model in self.models.values())

    @property
    def drawn_tokens(self) -> int:
        """Tokens that were computed for this run."""
        return sum(model.drawn_tokens for model in self.models.values())

    @property
    def cost_nanos(self) -> int:
        return sum(model.cost_nanos for model in self.models.values())

    @property
    def equal_texts(self) -> int:
        """Samples whose text another sample of the same task and model had before."""
        return self.samples - sum(model.distinct for model in self.models.values())

    def piece(self, now: float) -> None:
        """A piece of text came."""
        self._pieces.append((now, 1))
        while self._pieces and self._pieces[0][0] < now - _WINDOW_S:
            self._pieces.popleft()

    def pieces_per_second(self, now: float) -> float:
        """Over the last seconds; a piece is one token while the receiver keeps up."""
        recent = [count for at, count in self._pieces if at >= now - _WINDOW_S]
        return sum(recent) / _WINDOW_S

    def row(self, row: Mapping[str, Any]) -> None:
        """A sample has finished."""
        model = self.models.setdefault(row["model"], ModelTally())
        model.samples += 1
        model.reasons[row["finish_reason"]] += 1
        model.texts.setdefault(row["task_id"], set()).add(row["text"])
        self.sample_ids[row["sample_id"]] += 1
        tokens = row["usage"].get("completion_tokens", 0)
        model.tokens += tokens
        stored = row["provenance"].get("cache", {}).get("outcome") == "CACHE_OUTCOME_STORED"
        if stored:
            model.from_cache += 1
        else:
            model.drawn_tokens += tokens
            model.seconds += max(0.0, _decoding(row["timings"]))
        if "nanos" in row["cost"]:
            model.cost_nanos += row["cost"]["nanos"]
        else:
            model.cost_unknown += 1
        model.saved_nanos += row["cost"].get("saved_nanos", 0)

    def failed(self, what: str) -> None:
        """A sample or a whole task has failed."""
        self.failures.append(what)

    def problems(self) -> list[str]:
        """Why the run is not whole; empty when every sample reached its end and is one of a kind."""
        found = list(self.failures)
        if self.samples + len(self.failures) < self.expected:
            found.append(f"{self.expected - self.samples} of {self.expected} samples never ended")
        found += [f"sample {name} came {count} times" for name, count in self.sample_ids.items() if count > 1]
        for name, model in self.models.items():
            found += [
                f"{count} samples of {name} ended by {reason}"
                for reason, count in model.reasons.items()
                if reason not in WHOLE
            ]
        return found


def _decoding(timings: Mapping[str, str]) -> float:
    return seconds_of(timings.get("total", "0s")) - seconds_of(timings.get("to_first_token", "0s"))


def seconds_of(duration: str) -> float:
    """Of a duration in protobuf's JSON, `1.5s`."""
    return float(duration.removesuffix("s") or 0)
