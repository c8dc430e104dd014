"""What an engine is asked to draw, and what it hands back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn for the model's chat template: `role` is system, user, assistant or tool."""

    role: str
    text: str
    name: str = ""


Prompt = tuple[ChatMessage, ...] | str | tuple[int, ...]
"""A chat, a raw text, or token ids."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample to draw, every setting explicit.

    `seed` has 31 bits. `max_tokens` None: until the model stops or its context is full. `prompt_logprobs`
    None: none are wanted, otherwise how many of the most likely tokens besides.
    """

    prompt_ids: tuple[int, ...]
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    token_ids: bool = False
    json_schema: str | None = None
    grammar: str | None = None
    prompt_logprobs: int | None = None
    fresh: bool = False
    """The prompt is computed anew: what is found of it has other last digits, and so other near ties."""

    @property
    def neutral(self) -> bool:
        """Whether tokens are drawn with the model's own probabilities."""
        return (
            (self.temperature, self.top_p, self.top_k, self.min_p) == (1.0, 1.0, 0, 0.0)
            and (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) == (1.0, 0.0, 0.0)
            and self.json_schema is None
            and self.grammar is None
        )


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The most likely tokens at one position, most likely first."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    texts: tuple[str, ...]


@dataclass(slots=True)
class Piece:
    """One or more tokens of the answer.

    `logprobs` and `top` have one entry per token when they were asked for.
    """

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[TopTokens] = field(default_factory=list)
    tokens: int = 0
    """How many tokens the piece stands for, whether or not their ids are known."""

    def append(self, later: Piece) -> None:
        """Take over what came after."""
        self.text += later.text
        self.token_ids += later.token_ids
        self.logprobs += later.logprobs
        self.top += later.top
        self.tokens += later.tokens


@dataclass(frozen=True, slots=True)
class Prefill:
    """How much of the prompt is computed; `cached` tokens of it did not have to be."""

    done: int
    total: int
    cached: int


class EndReason(Enum):
    """Why an answer ended."""

    STOP = "the model ended its answer"
    STOP_SEQUENCE = "a stop text or token of the request"
    MAX_TOKENS = "the request's own max_tokens"
    CONTEXT_FULL = "the context was full before the model stopped"


@dataclass(frozen=True, slots=True)
class End:
    """The end of one sample, with the engine's own counts."""

    reason: EndReason
    stop_matched: str
    prompt_tokens: int
    cached_prompt_tokens: int
    completion_tokens: int
    prompt_logprobs: Piece | None = None
    """Of the prompt's tokens, the first 0, where the draw asked."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text as a vector of unit length; `tokens` as the model counted them."""

    values: Sequence[float]
    tokens: int


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing came for as long as the reader wanted to wait."""


Output = Piece | Prefill | Idle | End
