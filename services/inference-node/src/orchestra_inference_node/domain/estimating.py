"""How long a request would wait, from what this worker was seen to do."""

from __future__ import annotations

from collections.abc import Sequence

_WEIGHT = 0.2


class ServiceTimes:
    """What the samples so far took. Seconds; None until something was seen."""

    def __init__(self) -> None:
        self._held: float | None = None
        self._per_prompt_token: float | None = None

    def first_token(self, prompt_tokens: int, seconds: float) -> None:
        """From its slot to its first token a sample took `seconds`.

        The fastest counts: a short prompt spends its time on other things than its tokens, and a mean over
        such would refuse long prompts that can be done.
        """
        seen = seconds / max(1, prompt_tokens)
        self._per_prompt_token = seen if self._per_prompt_token is None else min(seen, self._per_prompt_token)

    def ended(self, seconds: float) -> None:
        """A sample held its slot for `seconds`; the mean follows the last few."""
        self._held = seconds if self._held is None else self._held + _WEIGHT * (seconds - self._held)

    def until_first_token(self, prompt_tokens: int, *, ahead: int, slots: int, free: int) -> float:
        """Seconds that a new sample needs; 0.0 while nothing is known.

        Errs to the short side: those that run now are taken to be nearly done.
        """
        wait = 0.0 if free > 0 else ahead / slots * (self._held or 0.0)
        return wait + prompt_tokens * (self._per_prompt_token or 0.0)


class GivenTimes:
    """What given texts took a slot, by their size; the fastest counts, so that it errs to the short side."""

    def __init__(self) -> None:
        self._per_unit: float | None = None

    def took(self, size: int, seconds: float) -> None:
        seen = seconds / max(1, size)
        self._per_unit = seen if self._per_unit is None else min(seen, self._per_unit)

    def least(self, sizes: Sequence[int], slots: int) -> float:
        """Seconds that the texts need on all slots; 0.0 while nothing is known."""
        return sum(sizes) / slots * (self._per_unit or 0.0)
