"""One sample asked of a provider: what to say, and how to draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image by its address; data travels as a `data:` address."""

    url: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool that an assistant turn called."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `tool_call_id` names the call that a tool turn answers."""

    role: Role
    parts: tuple[str | Picture, ...] = ()
    name: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function that the model may call; `parameters` is a JSON schema as text, empty for none."""

    name: str
    description: str = ""
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`name` only with mode named."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """What goes to the provider. Exactly one of `turns` and `text` is set; None means neutral.

    Settings that no cloud API of this build takes (top_k, min_p, grammars, token ids) are refused before a
    Call is made.
    """

    provider_model: str
    turns: tuple[Turn, ...] = ()
    text: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    json_schema: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    prompt_bytes: int = 0

    @property
    def likely_tokens(self) -> int:
        """An estimate for rate limits, corrected by the real usage: four bytes to a token, and the answer's
        bound (256 where there is none)."""
        return self.prompt_bytes // 4 + 1 + (256 if self.max_tokens is None else self.max_tokens)
