"""What a provider's stream says, piece by piece, in words that every vendor's stream translates to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Finish(Enum):
    """Why the provider says that the answer ended. LENGTH does not say whose bound it was."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Counts as the provider reports them. None: not reported, never zero. `prompt` includes `cached`,
    `completion` includes `reasoning`."""

    prompt: int | None = None
    cached: int | None = None
    completion: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class TokenProb:
    """Natural-log probability of a sampled token, and the likeliest alternatives with theirs."""

    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolPiece:
    """A piece of the tool call at position `index`; id and name come with the first piece of each call."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Everything that came at once; a field at its default says nothing.

    `finish` comes once. `revision` is the dated id or fingerprint that the provider reports. A stream that
    was read to its proper end has yielded a finish; otherwise the adapter raises.
    """

    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolPiece, ...] = ()
    probs: tuple[TokenProb, ...] = ()
    finish: Finish | None = None
    stop_matched: str = ""
    usage: Tokens | None = None
    revision: str = ""

    @property
    def speaks(self) -> bool:
        """Whether a caller would see something of the answer."""
        return bool(self.text or self.reasoning or self.tools)
