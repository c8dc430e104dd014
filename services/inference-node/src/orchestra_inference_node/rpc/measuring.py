"""Measurements as messages."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra.inference.v1 import node_pb2
from orchestra_errors import Violations
from orchestra_inference_node.domain.measuring import (
    LEAST_TOKENS,
    MOST_ROUNDS,
    MOST_TOKENS,
    ROUNDS,
    TOKENS,
    Figures,
)
from orchestra_inference_node.domain.resident import Resident


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked MeasureModelRequest."""

    model: str
    tokens: int
    rounds: int


def asked(request: pb.MeasureModelRequest) -> Asked:
    """Raises InvalidRequest naming every wrong field."""
    tokens = request.tokens if request.HasField("tokens") else TOKENS
    rounds = request.rounds if request.HasField("rounds") else ROUNDS
    found = Violations()
    found.require(bool(request.model), "model", "must be set")
    found.require(
        LEAST_TOKENS <= tokens <= MOST_TOKENS,
        "tokens",
        f"must be from {LEAST_TOKENS} to {MOST_TOKENS}, is {tokens}",
    )
    found.require(1 <= rounds <= MOST_ROUNDS, "rounds", f"must be from 1 to {MOST_ROUNDS}, is {rounds}")
    found.raise_if_any()
    return Asked(request.model, tokens, rounds)


def measured_speed(figures: Figures, resident: Resident) -> node_pb2.MeasuredSpeed:
    """What is not known is absent."""
    out = node_pb2.MeasuredSpeed(
        at=[node_pb2.SpeedAt(parallel=parallel, per_second=speed) for parallel, speed in figures.at],
        prefill_tokens_per_second=figures.prefill_per_s,
        watts=figures.watts,
        memory_bytes=figures.memory_bytes,
        revision=resident.revision,
        engine=resident.engine,
        engine_build=resident.facts.get("build", ""),
    )
    for field, seconds in ((out.first_token, figures.first_token_s), (out.load, figures.load_s)):
        if seconds is not None:
            field.CopyFrom(_duration(seconds))
    out.measured_at.FromNanoseconds(int(figures.measured_at * 1e9))
    return out


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromNanoseconds(int(seconds * 1e9))
    return made
