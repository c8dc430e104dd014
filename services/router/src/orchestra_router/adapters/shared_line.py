"""One GenerateBatch stream for each worker that the items of a batch use."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import structlog

from orchestra.generation.v1 import request_pb2
from orchestra_errors import OrchestraError, StreamSilent, WorkerLost
from orchestra_rpc import call_stream

from ..domain.targets import Target
from ..ports import Leg, Room, Take
from .silence import Silence
from .worker_channels import Peer, Peers, as_lost

log = structlog.get_logger()
MOST_ITEMS_AT_ONCE = 256
MOST_BYTES_AT_ONCE = 4 << 20
FINISH_S = 0.5


@dataclass(slots=True)
class _Waiting:
    """A leg on the stream; `left` samples of it have not ended."""

    label: str
    take: Take
    left: int
    done: asyncio.Future[None]


class SharedLine:
    """Implements the port Line. At most `window` samples at a time are handed to one worker; more wait here,
    so that a large batch fills the worker's slots and not its queue."""

    def __init__(self, peers: Peers, room: Room, window: int, first_s: float, later_s: float) -> None:
        self._peers = peers
        self._room = room
        self._window = window
        self._limits = (first_s, later_s)
        self._streams: dict[str, _Stream] = {}

    async def run(self, leg: Leg, take: Take) -> AsyncGenerator[None, None]:
        stream = self._stream(leg.target)
        samples = leg.generation.sampling.n
        async with stream.places(samples):
            stream = self._stream(leg.target)
            waiting = stream.send(leg, take, samples)
            try:
                await waiting.done
            finally:
                stream.forget(waiting)
        yield

    def _stream(self, target: Target) -> _Stream:
        stream = self._streams.get(target.key)
        if stream is None or stream.ended:
            places = stream.place if stream is not None else _Places(self._window)
            stream = _Stream(self._peers, target, self._room, places, self._limits)
            self._streams[target.key] = stream
        return stream

    async def close(self) -> None:
        """End every stream; what waits on one is cancelled."""
        await asyncio.gather(*(stream.finish() for stream in self._streams.values()))


class _Places:
    """A counting semaphore that takes several at once, in order; a request larger than all of them takes them
    all."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._turn: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> int:
        count = min(count, self._size)
        if not self._turn and self._free >= count:
            self._free -= count
            return count
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turn.append((count, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give(count)
            else:
                self._turn = deque(entry for entry in self._turn if entry[1] is not future)
                self._hand_on()
            raise
        return count

    def give(self, count: int) -> None:
        self._free += count
        self._hand_on()

    def _hand_on(self) -> None:
        while self._turn and self._free >= self._turn[0][0]:
            count, future = self._turn.popleft()
            if not future.done():
                self._free -= count
                future.set_result(None)


class _Held:
    """Places of one leg, as a context."""

    def __init__(self, places: _Places, count: int) -> None:
        self._places = places
        self._count = count

    async def __aenter__(self) -> None:
        self._count = await self._places.take(self._count)

    async def __aexit__(self, *raised: object) -> None:
        self._places.give(self._count)


class _Stream:
    """The stream to one worker, opened by its first item."""

    def __init__(
        self, peers: Peers, target: Target, room: Room, places: _Places, limits: tuple[float, float]
    ) -> None:
        self._peers = peers
        self._target = target
        self._room = room
        self._limits = limits
        self.place = places
        self._outgoing: deque[request_pb2.BatchItem] = deque()
        self._cancelled: list[str] = []
        self._wake = asyncio.Event()
        self._waiting: dict[str, _Waiting] = {}
        self._labels = 0
        self._silence: Silence | None = None
        self._finishing = False
        self.ended = False
        self.task = asyncio.create_task(self._run(), name="shared line")

    def places(self, count: int) -> _Held:
        return _Held(self.place, count)

    def send(self, leg: Leg, take: Take, samples: int) -> _Waiting:
        """Queue the leg; it goes with whatever else is ready."""
        self._labels += 1
        label = str(self._labels)
        waiting = _Waiting(label, take, samples, asyncio.get_running_loop().create_future())
        self._waiting[label] = waiting
        self._outgoing.append(
            request_pb2.BatchItem(correlation_id=label, generation=leg.generation, hop=leg.hop)
        )
        self._wake.set()
        self._listen()
        return waiting

    def forget(self, waiting: _Waiting) -> None:
        """The leg is over for us; the worker is told when it is not over for it."""
        del self._waiting[waiting.label]
        if waiting.left > 0 and not self.ended:
            self._cancelled.append(waiting.label)
            self._wake.set()
        self._listen()

    async def finish(self) -> None:
        """Half-close, and wait a moment for the worker's own end; an item that still runs is cut."""
        self._finishing = not self._waiting
        self._wake.set()
        if self._finishing:
            await asyncio.wait([self.task], timeout=FINISH_S)
        self.task.cancel()
        await asyncio.wait([self.task])

    def _listen(self) -> None:
        # a stream without items has nothing to say
        if self._silence is not None:
            self._silence.hold(not self._waiting)

    async def _run(self) -> None:
        error: OrchestraError | None = None
        try:
            with self._peers.use(self._target) as peer:
                error = await self._talk(peer)
        except OrchestraError as exc:
            error = as_lost(exc, self._target)
        except asyncio.CancelledError:
            for waiting in self._waiting.values():
                waiting.done.cancel()
            raise
        except Exception as exc:
            log.error("shared line failed", target=self._target.key, exc_info=exc)
            error = WorkerLost(self._target.model, "its stream could not be read")
        finally:
            self.ended = True
        for waiting in self._waiting.values():
            if not waiting.done.done():
                waiting.done.set_exception(error or self._cut())

    async def _talk(self, peer: Peer) -> OrchestraError | None:
        call = peer.stub.GenerateBatch(self._requests(peer))
        with Silence(call.cancel, *self._limits) as silence:
            self._silence = silence
            self._listen()
            try:
                async with call_stream(call) as messages:
                    async for message in messages:
                        silence.heard()
                        for labelled in message.events:
                            self._hand_over(labelled)
                        silence.hold(True)
                        await self._room()
                        self._listen()
            except asyncio.CancelledError:
                if silence.broken_after is None:
                    raise
                return StreamSilent(self._target.key, silence.broken_after)
        return None

    def _hand_over(self, labelled: Any) -> None:
        waiting = self._waiting.get(labelled.correlation_id)
        if waiting is None:
            return
        event = labelled.event
        waiting.take(event)
        if event.HasField("finished") or event.HasField("sample_failed"):
            waiting.left -= 1
            if waiting.left <= 0 and not waiting.done.done():
                waiting.done.set_result(None)

    async def _requests(self, peer: Peer) -> AsyncGenerator[Any, None]:
        """Messages with whatever is ready."""
        while not self._finishing:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing or self._cancelled:
                items: list[request_pb2.BatchItem] = []
                size = 0
                while self._outgoing and len(items) < MOST_ITEMS_AT_ONCE and size < MOST_BYTES_AT_ONCE:
                    items.append(self._outgoing.popleft())
                    size += items[-1].ByteSize()
                cancelled, self._cancelled = self._cancelled, []
                yield peer.batch_request(items=items, cancel_correlation_ids=cancelled)

    def _cut(self) -> OrchestraError:
        return WorkerLost(self._target.model, "its stream ended before every item had")
