"""Requests for the real small models."""

from __future__ import annotations

import uuid
from typing import Any

from orchestra.generation.v1 import request_pb2, routing_pb2, sampling_pb2
from orchestra.router.v1 import router_service_pb2 as router_pb

SMOL, GEMMA, MINILM = "smollm2-135m", "gemma3-270m", "minilm-l6"


def generate_request(
    text: str = "", *, model: str = SMOL, max_tokens: int = 8, **fields: Any
) -> router_pb.GenerateRequest:
    """A request for a few tokens of code. Without `text` its prompt is one that no other test asks for.

    `fields` are merged into the GenerationRequest.
    """
    generation = request_pb2.GenerationRequest(
        text=text or f"# {uuid.uuid4().hex}\ndef add(a, b):\n   ",
        sampling=sampling_pb2.Sampling(max_tokens=max_tokens, top_k=40),
        routing=routing_pb2.Routing(model=model),
    )
    generation.MergeFrom(request_pb2.GenerationRequest(**fields))
    return router_pb.GenerateRequest(generation=generation)
