"""Server-sent events out of bytes, however the network has cut them."""

from __future__ import annotations

MAX_EVENT_BYTES = 16 * 1024 * 1024


class EventTooLong(Exception):
    """No end of an event within the bound."""


class SseReader:
    """Feed bytes, get the `data` of each event that is whole. Comments and other fields are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._rest.strip() or self._data)

    def feed(self, data: bytes) -> list[bytes]:
        """Raises EventTooLong."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        events: list[bytes] = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLong(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return events
