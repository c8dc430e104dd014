"""Requests, and what is read out of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestra.generation.v1 import event_pb2, request_pb2

Event = event_pb2.GenerationEvent


def asking(model: str = "smollm2-135m", text: str = "def f(", **fields: Any) -> request_pb2.GenerationRequest:
    """A request; `n`, `candidates` and other routing fields by their name, anything else as its own field."""
    request = request_pb2.GenerationRequest(text=text)
    if model:
        request.routing.model = model
    for name, value in fields.items():
        if name in ("n", "seed", "temperature", "max_tokens"):
            setattr(request.sampling, name, value)
        elif name == "candidates":
            request.routing.candidates.extend(value)
        elif name in ("allow_substitution", "allow_restart", "local_only", "objective", "allow_eliminated"):
            setattr(request.routing, name, value)
        elif name == "mode":
            request.cache.mode = value
        else:
            setattr(request, name, value)
    return request


def text_of(events: Iterable[Event], index: int = 0) -> str:
    return "".join(
        event.text_delta.text
        for event in events
        if event.sample_index == index and event.HasField("text_delta")
    )


def kinds(events: Iterable[Event], index: int = 0) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events if event.sample_index == index]
