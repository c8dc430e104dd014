"""What a request wants of its target, with every name already resolved."""

from __future__ import annotations

from dataclasses import dataclass

SPEED, QUALITY, SPECIALIZATION, COST, ROUND_ROBIN = (
    "speed",
    "quality",
    "specialization",
    "cost",
    "round_robin",
)
OBJECTIVES = (SPEED, QUALITY, SPECIALIZATION, COST, ROUND_ROBIN)


@dataclass(frozen=True, slots=True)
class Job:
    """`model` and `candidates` exclude each other; both absent leaves the choice to the objective."""

    model: str = ""
    variant: str = ""
    """The weights that were named, when the name was not the model's own."""
    candidates: tuple[str, ...] = ()
    objective: str = ""
    request_type: str = ""
    tiers: frozenset[str] = frozenset()
    """Empty: every tier."""
    local_only: bool = False
    complex: bool = False
    validation: bool = False
    max_cost_nanos: int | None = None
    """Of one sample."""
    allow_substitution: bool = False
    allow_eliminated: bool = False
    fallback: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    """Capabilities by the names of Abilities.can."""
    top_logprobs: int = 0
    n: int = 1
    least_prompt_tokens: int = 0
    """A lower bound, for what cannot fit."""
    likely_prompt_tokens: int = 0
    """An estimate, for what it may cost."""
    most_prompt_tokens: int = 0
    """An upper bound, for what is reserved."""
    max_tokens: int | None = None
    phase: str = ""

    @property
    def directed(self) -> bool:
        """Whether the caller said which models, or where they run."""
        return bool(self.model or self.candidates or self.tiers)

    def names(self, model: str) -> bool:
        return model == self.model or model in self.candidates

    @property
    def asked(self) -> str:
        """For messages: what the caller named."""
        return self.model or ", ".join(self.candidates) or "any model"


@dataclass(frozen=True, slots=True)
class PromptSize:
    """Bytes of text and, where the caller tokenized itself, tokens; and what a template puts around them."""

    text_bytes: int = 0
    tokens: int = 0
    framing_bytes: int = 0
    """Of tools' descriptions, and for each message what its template adds."""

    @property
    def least_tokens(self) -> int:
        """No common tokenizer packs more than about eight bytes of running text into a token on average.

        A prompt that this bound lets through and the model's own tokenizer does not is refused by the worker,
        which counts exactly.
        """
        return self.tokens + self.text_bytes // 8

    @property
    def likely_tokens(self) -> int:
        """Four bytes to a token, the usual figure for English and code."""
        return self.tokens + (self.text_bytes + 3) // 4

    @property
    def most_tokens(self) -> int:
        """No token is shorter than a byte."""
        return self.tokens + self.text_bytes + self.framing_bytes
