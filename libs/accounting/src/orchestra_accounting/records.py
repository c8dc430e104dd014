"""Frames of the journal: a header of length, CRC-32 and kind, then the payload.

A frame that is cut short or damaged ends the reading: everything before it is whole, nothing behind it is
trusted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_HEADER = struct.Struct("<IIB")
HEADER_BYTES = _HEADER.size
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024


class Kind(IntEnum):
    """What a payload is."""

    OPENED = 1
    """UsageEntry of an attempt that is about to leave."""
    CLOSED = 2
    """UsageEntry to be delivered; ends the attempt of that id, if one is open."""
    WITHDRAWN = 3
    """UTF-8 attempt id of an attempt that never left; nothing is delivered."""


class Frame(NamedTuple):
    """One whole frame; `end` is the offset behind it."""

    kind: Kind
    payload: bytes
    end: int


def encode(kind: Kind, payload: bytes) -> bytes:
    """One frame. Raises ValueError for a payload that no reader would accept."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes is over {MAX_PAYLOAD_BYTES}")
    return _HEADER.pack(len(payload), _checksum(kind, payload), kind) + payload


def decode(data: bytes, start: int = 0) -> Iterator[Frame]:
    """The whole frames of `data` from `start` on; ends at its end or before the first frame that is not
    whole.
    """
    kinds = Kind._value2member_map_
    while start + HEADER_BYTES <= len(data):
        length, checksum, number = _HEADER.unpack_from(data, start)
        end = start + HEADER_BYTES + length
        if length > MAX_PAYLOAD_BYTES or end > len(data) or number not in kinds:
            return
        payload = data[start + HEADER_BYTES : end]
        kind = Kind(number)
        if _checksum(kind, payload) != checksum:
            return
        yield Frame(kind, payload, end)
        start = end


def _checksum(kind: Kind, payload: bytes) -> int:
    return zlib.crc32(payload, kind)
