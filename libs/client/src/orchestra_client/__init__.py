"""Asking the mesh, from a trainer's process."""

from .answer import Answer, DiverseAnswer
from .ask import Ask, Options, Prompt
from .events import Event, Failed, Finished, Heartbeat, ReasoningDelta, Started, TextDelta, ToolCallDelta
from .orchestra import Orchestra
from .sample import FinishReason, Sample, ToolCall
from .settings import Settings

__all__ = [
    "Answer",
    "Ask",
    "DiverseAnswer",
    "Event",
    "Failed",
    "FinishReason",
    "Finished",
    "Heartbeat",
    "Options",
    "Orchestra",
    "Prompt",
    "ReasoningDelta",
    "Sample",
    "Settings",
    "Started",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
]
