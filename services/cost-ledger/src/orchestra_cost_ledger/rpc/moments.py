"""Timestamps and durations of the contract as microseconds."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def duration_us(duration: Duration) -> int:
    return duration.seconds * 1_000_000 + duration.nanos // 1_000


def given_us(message: Message, field: str) -> int | None:
    """The time in `field` of `message`; None when it is absent."""
    if not message.HasField(field):
        return None
    value: Timestamp | Duration = getattr(message, field)
    return value.seconds * 1_000_000 + value.nanos // 1_000


def stamp(us: int | None) -> Timestamp | None:
    if us is None:
        return None
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1_000)


def span(us: int) -> Duration:
    return Duration(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1_000)
