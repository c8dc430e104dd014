"""How a value lies in the store: version, flags, checksum, bytes. What cannot be read back whole is None, a
miss."""

from __future__ import annotations

import struct
import zlib

VERSION = 1
_HEAD = struct.Struct(">BBI")
_COMPRESSED = 1
_SMALL = 256
"""Below this a compressed value gains nothing."""
_MOST = 256 << 20
"""No value is larger; a damaged length must not ask for the machine's memory."""


def frame(payload: bytes, place: bytes) -> bytes:
    """`payload` as stored at `place`. The place is part of the checksum: a value that turns up elsewhere is
    damaged."""
    flags, body = 0, payload
    if len(payload) >= _SMALL:
        packed = zlib.compress(payload, 1)
        if len(packed) < len(payload) * 0.9:
            flags, body = _COMPRESSED, packed
    return _HEAD.pack(VERSION, flags, _checksum(flags, body, place)) + body


def unframe(value: bytes, place: bytes) -> bytes | None:
    """The payload, or None when the value is damaged, of another version or of another place."""
    if len(value) < _HEAD.size:
        return None
    version, flags, checksum = _HEAD.unpack_from(value)
    body = value[_HEAD.size :]
    if version != VERSION or flags not in (0, _COMPRESSED) or checksum != _checksum(flags, body, place):
        return None
    if not flags:
        return body
    try:
        reader = zlib.decompressobj()
        payload = reader.decompress(body, _MOST)
    except zlib.error:
        return None
    return payload if reader.eof else None


def _checksum(flags: int, body: bytes, place: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(place, VERSION << 8 | flags))
