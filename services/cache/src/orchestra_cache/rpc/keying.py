"""The key of a subject: a digest of all in it that can change the answer, and of nothing else.

`domain/fields.py` says of every field whether it is part of the key. The canonical subject is serialized by
protobuf itself: fields in the order of their numbers, floats as the 32 bits that engines receive, whatever
text they came from.
"""

from __future__ import annotations

import hashlib

from orchestra.cache.v1 import cache_service_pb2 as pb
from orchestra.generation.v1 import prompt_pb2, request_pb2
from orchestra_cache.domain.fields import LEFT_OUT
from orchestra_requests import sampling_defaults

VERSION = b"orchestra cache key 1\0"
"""Changes when the meaning of the bytes below changes; old sets are then no longer found."""
_REQUEST = tuple(LEFT_OUT["orchestra.generation.v1.GenerationRequest"])
_SAMPLING = tuple(LEFT_OUT["orchestra.generation.v1.Sampling"])
_FLOATS = (
    "temperature",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)


def canonical(subject: pb.Subject) -> pb.Subject:
    """A copy that is equal for all subjects that are answered alike."""
    whole = pb.Subject()
    whole.CopyFrom(subject)
    whole.DiscardUnknownFields()
    generation = whole.generation
    for name in _REQUEST:
        generation.ClearField(name)  # type: ignore[arg-type]
    sampling = sampling_defaults(generation.sampling)
    for name in _SAMPLING:
        sampling.ClearField(name)  # type: ignore[arg-type]
    for name in _FLOATS:
        if not getattr(sampling, name):
            setattr(sampling, name, 0.0)  # minus zero is zero
    sampling.stop[:] = sorted(set(sampling.stop))
    sampling.stop_token_ids[:] = sorted(set(sampling.stop_token_ids))
    generation.sampling.CopyFrom(sampling)
    _level_tool_choice(generation)
    return whole


def _level_tool_choice(generation: request_pb2.GenerationRequest) -> None:
    if not generation.tools:
        generation.ClearField("tool_choice")
    elif not generation.HasField("tool_choice"):
        generation.tool_choice.mode = prompt_pb2.TOOL_CHOICE_MODE_AUTO


def key_of(whole: pb.Subject) -> str:
    """Hex digest of a canonical subject."""
    return hashlib.sha256(VERSION + whole.SerializeToString(deterministic=True)).hexdigest()
