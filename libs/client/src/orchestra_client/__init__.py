"""Asking the mesh, from a trainer's process."""

from .answer import Answer, DiverseAnswer
from .ask import Ask, Options, Prompt
from .batch import BatchAnswer, Item
from .events import Event, Failed, Finished, Heartbeat, ReasoningDelta, Started, TextDelta, ToolCallDelta
from .orchestra import Orchestra
from .sample import FinishReason, Sample, ToolCall
from .settings import Settings
from .sync import SyncAnswer, SyncDiverseAnswer, SyncOrchestra, SyncStream

__all__ = [
    "Answer",
    "Ask",
    "BatchAnswer",
    "DiverseAnswer",
    "Event",
    "Failed",
    "FinishReason",
    "Finished",
    "Heartbeat",
    "Item",
    "Options",
    "Orchestra",
    "Prompt",
    "ReasoningDelta",
    "Sample",
    "Settings",
    "Started",
    "SyncAnswer",
    "SyncDiverseAnswer",
    "SyncOrchestra",
    "SyncStream",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
]
