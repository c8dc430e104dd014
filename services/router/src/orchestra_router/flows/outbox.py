"""Events of many samples on their way to one receiver, packed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..ports import Event

P = TypeVar("P")
MOST_EVENTS = 512
MOST_BYTES = 1 << 20
ROOM_PACKETS = 8
"""Whole packets that may wait before the sources are held up."""


@dataclass(slots=True)
class _Packet(Generic[P]):
    message: P
    events: int = 0
    size: int = 0
    last: dict[tuple[str, int], Event] = field(default_factory=dict)
    """The last event of each sample, as it stands in the message."""


class Outbox(Generic[P]):
    """Packs whatever is ready when the receiver is; no timer holds anything back.

    While the receiver is slow, deltas of one sample that follow each other merge. `add(message, label,
    event)` puts a copy of the event into the message and returns the copy.
    """

    def __init__(self, make: Callable[[], P], add: Callable[[P, str, Event], Event]) -> None:
        self._make = make
        self._add = add
        self._packets: deque[_Packet[P]] = deque()
        self._ready = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, label: str, event: Event) -> None:
        """Never waits; sources that can be held up await `room` now and then."""
        packet = self._packets[-1] if self._packets else self._open()
        key = (label, event.sample_index)
        if _merged(packet.last.get(key), event):
            packet.size += len(event.text_delta.text)
            return
        if packet.events >= MOST_EVENTS or packet.size >= MOST_BYTES:
            packet = self._open()
        packet.last[key] = self._add(packet.message, label, event)
        packet.events += 1
        packet.size += event.ByteSize()
        self._ready.set()

    def _open(self) -> _Packet[P]:
        packet = _Packet(self._make())
        self._packets.append(packet)
        if len(self._packets) > ROOM_PACKETS:
            self._roomy.clear()
        return packet

    async def room(self) -> None:
        """Wait while the receiver is far behind."""
        await self._roomy.wait()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will come; with an error the receiver gets it after what is packed."""
        self._closed = True
        self._error = self._error or error
        self._ready.set()

    async def packets(self) -> AsyncGenerator[P, None]:
        """Messages as they are ready, until closed. Raises the error that it was closed with."""
        while True:
            if not self._packets:
                if self._closed:
                    if self._error is not None:
                        raise self._error
                    return
                self._ready.clear()
                await self._ready.wait()
                continue
            packet = self._packets.popleft()
            if len(self._packets) <= ROOM_PACKETS:
                self._roomy.set()
            yield packet.message


def _merged(last: Event | None, event: Event) -> bool:
    """Put the delta behind one that nobody has taken yet; False when they are of different kinds."""
    if last is None:
        return False
    if event.HasField("text_delta") and last.HasField("text_delta"):
        into, more = last.text_delta, event.text_delta
        into.text += more.text
        into.token_ids.extend(more.token_ids)
        into.logprobs.extend(more.logprobs)
        into.top_logprobs.extend(more.top_logprobs)
        return True
    return event.HasField("heartbeat") and last.HasField("heartbeat")
