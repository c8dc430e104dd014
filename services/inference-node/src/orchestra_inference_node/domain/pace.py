"""How fast a model of declared speed works, alone and with others beside it. Values and functions: the time
is handed in, real or not."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf

# of a unit of work: what is this close to done is done, whatever floating point makes of it
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Pace:
    """A declared speed. A rate of 0 takes no time at all."""

    tokens_per_second: float = 0.0
    """Of one sequence alone."""
    prefill_per_second: float = 0.0
    """Prompt tokens, of all prompts that are computed at the same time together."""
    first_token_s: float = 0.0
    """Before the prompt is begun."""
    batch_gain: float = 0.5
    """What each further sequence adds to the speed of all, as a share of one alone: 1 means that they do not
    slow each other down, 0 that they share the speed of one."""

    def together(self, parallel: int) -> float:
        """Tokens per second of `parallel` sequences in all."""
        return _rate(self.tokens_per_second, self.batch_gain, parallel) * parallel

    def first_token_after(self, prompt_tokens: int) -> float:
        """Seconds to the first token of a prompt that is computed alone."""
        return self.first_token_s + _seconds(prompt_tokens, _rate(self.prefill_per_second, 0.0, 1))

    def answer_after(self, prompt_tokens: int, tokens: int, parallel: int = 1) -> float:
        """Seconds to the last token, while `parallel` sequences decode all along."""
        each = _rate(self.tokens_per_second, self.batch_gain, parallel)
        return self.first_token_after(prompt_tokens) + _seconds(max(0, tokens - 1), each)

    def decoding(self) -> SideBySide:
        return SideBySide(self.tokens_per_second, self.batch_gain)

    def prefilling(self) -> SideBySide:
        return SideBySide(self.prefill_per_second, 0.0)


class SideBySide:
    """Pieces of work that run at the same time and slow each other down. Times are seconds on one clock.

    While k run, all get on at the same rate, which depends on k alone. So one running total, ∫ rate(k) dt,
    tells how far each is: what the total grew by since it came.
    """

    def __init__(self, alone: float, gain: float) -> None:
        """`alone` units per second of one by itself, 0 without bound; `gain` as in Pace.batch_gain."""
        self._alone = alone
        self._gain = gain
        self._came: dict[Hashable, float] = {}
        self._total = 0.0
        self._seen = 0.0

    def __len__(self) -> int:
        return len(self._came)

    def enter(self, work: Hashable, now: float) -> None:
        """`work` begins. ValueError when it runs already."""
        if work in self._came:
            raise ValueError(f"{work} runs already")
        self._advance(now)
        self._came[work] = self._total

    def leave(self, work: Hashable, now: float) -> None:
        """`work` is over, done or not; nothing happens when it does not run."""
        self._advance(now)
        self._came.pop(work, None)

    def done(self, work: Hashable, now: float) -> float:
        """Units of `work` that are done; without bound where the rate is. KeyError when it does not run."""
        self._advance(now)
        came = self._came[work]
        return self._total - came + _EPSILON if self._alone else inf

    def seconds_until(self, work: Hashable, units: float, now: float) -> float:
        """Until so many units of `work` are done, if nobody comes or goes."""
        left = units - self.done(work, now)
        return max(0.0, left / self._rate()) if left > 0 else 0.0

    def _rate(self) -> float:
        return _rate(self._alone, self._gain, len(self._came))

    def _advance(self, now: float) -> None:
        # a clock that steps back undoes nothing
        if self._came and self._alone and now > self._seen:
            self._total += (now - self._seen) * self._rate()
        self._seen = max(self._seen, now)


def _rate(alone: float, gain: float, parallel: int) -> float:
    """Units per second of each of `parallel`."""
    return alone * (1 + gain * (parallel - 1)) / parallel if alone else inf


def _seconds(units: float, rate: float) -> float:
    return units / rate
