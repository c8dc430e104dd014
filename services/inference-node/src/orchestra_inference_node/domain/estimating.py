"""How long a request would wait, from what this worker was seen to do."""

from __future__ import annotations

_WEIGHT = 0.2


class ServiceTimes:
    """Running means that follow the last few samples. Seconds; None until something was seen."""

    def __init__(self) -> None:
        self._held: float | None = None
        self._per_prompt_token: float | None = None

    def first_token(self, prompt_tokens: int, seconds: float) -> None:
        """From its slot to its first token a sample took `seconds`; prefixes that were kept make it short,
        and count as they come."""
        self._per_prompt_token = _mean(self._per_prompt_token, seconds / max(1, prompt_tokens))

    def ended(self, seconds: float) -> None:
        """A sample held its slot for `seconds`."""
        self._held = _mean(self._held, seconds)

    def until_first_token(self, prompt_tokens: int, *, ahead: int, slots: int, free: int) -> float:
        """Seconds that a new sample needs at the least; 0.0 while nothing is known.

        Those that run now are taken to be nearly done, so the figure errs to the short side.
        """
        wait = 0.0 if free > 0 else ahead / slots * (self._held or 0.0)
        return wait + prompt_tokens * (self._per_prompt_token or 0.0)


def _mean(before: float | None, seen: float) -> float:
    return seen if before is None else before + _WEIGHT * (seen - before)
