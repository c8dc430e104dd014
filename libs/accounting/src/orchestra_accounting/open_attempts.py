"""Attempts that have left and not ended, and what an earlier process left of them."""

from __future__ import annotations

from typing import NamedTuple

from orchestra.generation.v1 import usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.journal import Journal
from orchestra_accounting.records import Kind, encode

SETTLEMENT_ROOM = 2_048
"""Bytes that the end of an attempt may take beyond its opening."""


class _Place(NamedTuple):
    payload: bytes
    segment: int


class OpenAttempts:
    """Their opening records, each with the segment that holds it; `room` is kept free for their ends."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self.room = 0

    def __len__(self) -> int:
        return len(self._places)

    def add(self, attempt_id: str, payload: bytes, segment: int) -> None:
        self._places[attempt_id] = _Place(payload, segment)
        self.room += len(payload) + SETTLEMENT_ROOM

    def forget(self, attempt_id: str) -> bool:
        """Whether it was open."""
        if (known := self._places.pop(attempt_id, None)) is None:
            return False
        self.room -= len(known.payload) + SETTLEMENT_ROOM
        return True

    def place(self, attempt_id: str, segment: int) -> None:
        """Its opening was written there."""
        if attempt_id in self._places:
            self._places[attempt_id] = self._places[attempt_id]._replace(segment=segment)

    def carried(self, before: int) -> bytes:
        """The openings in segments before that one, as frames to be written anew: an attempt that stays open
        for long must not pin every segment behind it."""
        return b"".join(
            encode(Kind.OPENED, one.payload) for one in self._places.values() if one.segment < before
        )

    def moved(self, before: int, to: int) -> None:
        """Those frames are in the segment `to` now."""
        self._places = {
            attempt_id: one._replace(segment=to) if one.segment < before else one
            for attempt_id, one in self._places.items()
        }


def read_back(journal: Journal) -> tuple[list[entry_pb2.UsageEntry], int]:
    """The attempts that have no end yet, as UNKNOWN, and how many entries the journal holds."""
    payloads: dict[str, bytes] = {}
    closed = 0
    for _, frame in journal.frames():
        if frame.kind is Kind.WITHDRAWN:
            payloads.pop(frame.payload.decode(), None)
            continue
        attempt_id = entry_pb2.UsageEntry.FromString(frame.payload).attempt_id
        if frame.kind is Kind.OPENED:
            payloads[attempt_id] = frame.payload
        else:
            payloads.pop(attempt_id, None)
            closed += 1
    return [_as_unknown(entry_pb2.UsageEntry.FromString(payload)) for payload in payloads.values()], closed


def _as_unknown(entry: entry_pb2.UsageEntry) -> entry_pb2.UsageEntry:
    entry.state = entry_pb2.ENTRY_STATE_UNKNOWN
    entry.ClearField("usage")
    version = entry.cost.price_version
    entry.cost.CopyFrom(usage_pb2.Cost(state=usage_pb2.COST_STATE_UNKNOWN, price_version=version))
    return entry
