"""What measuring a loaded model asks for, and what its rounds come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from statistics import fmean, median

from orchestra_inference_node.domain.resident import Resident

PARALLEL = (1, 4, 8)
TOKENS, LEAST_TOKENS, MOST_TOKENS = 64, 8, 1024
ROUNDS, MOST_ROUNDS = 3, 20
LONG_PROMPT_TOKENS = 1024
_WORDS = (
    "river",
    "stone",
    "lamp",
    "green",
    "seven",
    "window",
    "cloud",
    "paper",
    "north",
    "bridge",
    "salt",
    "quiet",
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One request as its caller saw it, in seconds; token counts are the engine's own, None where it does
    not tell. `computed_prompt_tokens` leaves out what was found in a cache."""

    tokens: int
    first_token_s: float
    computed_prompt_tokens: int | None


@dataclass(frozen=True, slots=True)
class LoadedAs:
    """What a measurement holds for: another of any of these has not been measured."""

    model: str
    revision: str
    engine: str
    engine_build: str
    device_ids: tuple[str, ...]
    context_tokens: int
    slots: int
    options: tuple[tuple[str, str], ...] = ()


def loaded_as(resident: Resident) -> LoadedAs | None:
    """None while it is not known what the process loaded."""
    facts = resident.facts
    if not facts or not resident.revision:
        return None
    return LoadedAs(
        model=resident.wanted.model,
        revision=resident.revision,
        engine=resident.engine,
        engine_build=facts["build"],
        device_ids=resident.device_ids,
        context_tokens=facts["context_tokens"],
        slots=facts["slots"],
        options=resident.wanted.options,
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """What a loaded model does here. Times in seconds; None: not measured.

    `at` pairs requests at once with the tokens per second of all of them together (texts per second where
    the engine only embeds). `watts` is the mean draw and `memory_bytes` the largest seen while the most
    requests ran. `measured_at` is wall time.
    """

    at: tuple[tuple[int, float], ...] = ()
    first_token_s: float | None = None
    prefill_per_s: float | None = None
    load_s: float | None = None
    watts: float | None = None
    memory_bytes: int | None = None
    measured_at: float = 0.0


@dataclass(slots=True)
class Rounds:
    """What the rounds gave so far."""

    speeds: dict[int, list[float]] = field(default_factory=dict)
    first_token_s: list[float] = field(default_factory=list)
    prefill_per_s: list[float] = field(default_factory=list)
    watts: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)

    def figures(self, load_s: float | None, measured_at: float) -> Figures:
        """The medians: a round that something else disturbed does not move them."""
        return Figures(
            at=tuple((parallel, median(seen)) for parallel, seen in sorted(self.speeds.items()) if seen),
            first_token_s=median(self.first_token_s) if self.first_token_s else None,
            prefill_per_s=median(self.prefill_per_s) if self.prefill_per_s else None,
            load_s=load_s,
            watts=fmean(self.watts) if self.watts else None,
            memory_bytes=max(self.memory_bytes, default=None),
            measured_at=measured_at,
        )


def parallels(slots: int) -> tuple[int, ...]:
    """How many requests at once are measured; more than there are slots would only measure the queue."""
    return tuple(count for count in PARALLEL if count <= slots) or PARALLEL[:1]


def short_prompt(run: str, number: int) -> str:
    """A few tokens to go on from. Each of a run begins in its own way, so that no engine finds it in its
    cache, and no other run's."""
    return f"{_mark(run, number)} Once upon a time"


def long_prompt(run: str, number: int, words: int) -> str:
    """As `short_prompt`, of so many words in an order of its own."""
    drawn = Random(f"{run}/{number}")
    return " ".join((_mark(run, number), *drawn.choices(_WORDS, k=words)))


def _mark(run: str, number: int) -> str:
    """Four digits, different for each number below 65,536; where they begin depends on the run."""
    return f"{(Random(run).randrange(65_536) + number * 40_503) % 65_536:04x}"


def words_of_long_prompt(context_tokens: int, seen_words: int, seen_tokens: int) -> int:
    """Words of a prompt of at most LONG_PROMPT_TOKENS that leaves a quarter of the context free, by a
    prompt of `seen_words` that had `seen_tokens`."""
    tokens = min(LONG_PROMPT_TOKENS, context_tokens * 3 // 4)
    return max(1, tokens * seen_words // max(1, seen_tokens))
