"""The durable spool: what an attempt consumed is never lost, whoever is killed and however long the ledger is
down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

import structlog

from orchestra.generation.v1 import usage_pb2
from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.journal import Journal, Position
from orchestra_accounting.records import Kind, encode
from orchestra_errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger()
_SETTLEMENT_ROOM = 2_048
_REMEMBERED_CONTEXTS = 4_096
_COMPACT_FROM = 65_536


class SpoolFull(Unavailable):
    """The spool has no room (or its disk has none): a priced call must not leave, since nobody could account
    for it.
    """

    def __init__(self, because: str = "is full") -> None:
        super().__init__(f"the usage spool ({because})", retry_after=5.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries to deliver, in order; `contexts` are the calls that they come from, None where that is
    forgotten.
    """

    entries: Sequence[entry_pb2.UsageEntry]
    contexts: Sequence[Context | None]
    end: Position


@dataclass(slots=True)
class _Waiting:
    kind: Kind
    attempt_id: str
    frame: bytes
    durable: asyncio.Future[None]


class Spool:
    """One process's journal of attempts, in a folder of its own. Belongs to one event loop.

    Writes are grouped: whatever waits goes out with one fsync, in a thread. `max_bytes` bounds the folder;
    room for the end of every opened attempt is kept free.
    """

    def __init__(
        self, journal: Journal, thread: ThreadPoolExecutor, max_bytes: int, undelivered: int
    ) -> None:
        self._journal = journal
        self._undelivered = undelivered
        self._thread = thread
        self._max_bytes = max_bytes
        self._open: dict[str, tuple[bytes, int]] = {}
        self._open_room = 0
        self._queue: list[_Waiting] = []
        self._queued_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._cursor = journal.first
        self._compact_from = min(_COMPACT_FROM, max_bytes // 8)
        self._contexts: dict[str, Context] = {}
        self._changed = asyncio.Event()
        self._closed = False

    @classmethod
    async def open(cls, path: str | Path, max_bytes: int = 64_000_000) -> Self:
        """Lock the folder `path` and read what an earlier process left; its unfinished attempts are closed as
        UNKNOWN.

        Raises JournalLocked (another process owns the folder) and OSError.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        loop = asyncio.get_running_loop()
        segment_bytes = max(4_096, min(1_000_000, max_bytes // 8))
        try:
            journal = await loop.run_in_executor(thread, Journal, Path(path), segment_bytes)
            unfinished, closed = await loop.run_in_executor(thread, _read_back, journal)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        spool = cls(journal, thread, max_bytes, closed)
        for entry in unfinished:
            log.warning(
                "unfinished attempt closed as unknown", attempt_id=entry.attempt_id, model=entry.model
            )
            spool._enqueue(Kind.CLOSED, entry.attempt_id, entry.SerializeToString())
        if spool._queue:
            await spool._settled_down()
        return spool

    @property
    def used_bytes(self) -> int:
        """What is on disk, waits to be written or is kept free for attempts that are open."""
        return self._journal.size + self._queued_bytes + self._open_room

    @property
    def open_attempts(self) -> int:
        return len(self._open)

    @property
    def all_delivered(self) -> bool:
        """Whether nothing waits for the ledger."""
        return self._undelivered == 0

    @property
    def undelivered(self) -> int:
        """How many entries wait for the ledger."""
        return self._undelivered

    async def opened(self, entry: entry_pb2.UsageEntry) -> None:
        """Note an attempt that is about to leave; returns when that is durable. Raises SpoolFull: do not call
        then.
        """
        entry = _dated(entry)
        payload = entry.SerializeToString()
        self._forget(entry.attempt_id)
        self._need(2 * len(payload) + _SETTLEMENT_ROOM)
        self._open[entry.attempt_id] = (payload, self._journal.durable.segment)
        self._open_room += len(payload) + _SETTLEMENT_ROOM
        durable = self._enqueue(Kind.OPENED, entry.attempt_id, payload)
        try:
            await durable
        except asyncio.CancelledError:
            self.withdrawn(entry.attempt_id)
            raise

    def withdrawn(self, attempt_id: str) -> None:
        """The attempt never left: nothing was consumed, nothing is delivered. Unknown ids are no error."""
        if self._forget(attempt_id) and not self._closed:
            self._enqueue(Kind.WITHDRAWN, attempt_id, attempt_id.encode())

    def settled(self, entry: entry_pb2.UsageEntry) -> asyncio.Future[None]:
        """End an attempt with what it consumed. Taken at once; await the result to know that it is durable.

        An opened attempt is always taken until `close`; one that was never opened raises SpoolFull when there
        is no room.
        """
        entry = _dated(entry)
        payload = entry.SerializeToString()
        if self._closed or not self._forget(entry.attempt_id):
            self._need(len(payload))
        self._remember(entry.attempt_id)
        return self._enqueue(Kind.CLOSED, entry.attempt_id, payload)

    def record(self, entry: entry_pb2.UsageEntry) -> None:
        """Take an entry of an attempt that no budget waited for; durable with the next group. Raises
        SpoolFull.
        """
        self.settled(entry)

    async def next_batch(self, limit: int) -> Batch:
        """The next durable entries, at most `limit`; waits until there are some. The same ones until
        `delivered`.
        """
        start = self._cursor
        while True:
            self._changed.clear()
            frames, end = await self._in_thread(self._journal.read, start, limit)
            entries = [
                entry_pb2.UsageEntry.FromString(frame.payload)
                for frame in frames
                if frame.kind is Kind.CLOSED
            ]
            if entries:
                return Batch(entries, [self._contexts.get(entry.attempt_id) for entry in entries], end)
            if frames:
                start = end
                await self._advance(end)
            else:
                await self._changed.wait()

    async def delivered(self, batch: Batch) -> None:
        """The ledger has these: they are not shipped again, and whole segments of them are deleted."""
        self._undelivered -= len(batch.entries)
        for entry in batch.entries:
            self._contexts.pop(entry.attempt_id, None)
        await self._advance(batch.end)

    async def close(self) -> None:
        """Write what waits, then give up the folder; attempts still open stay in it for the next start."""
        if self._closed:
            return
        self._closed = True
        await self._settled_down()
        if self.all_delivered and not self._open and self._journal.size and not self._queue:
            await self._in_thread(self._compact, b"")
        await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)

    def _need(self, more: int) -> None:
        if self._closed:
            raise SpoolFull("is closed")
        if self.used_bytes + more > self._max_bytes:
            raise SpoolFull(f"holds {self.used_bytes} of {self._max_bytes} bytes")

    def _forget(self, attempt_id: str) -> bool:
        if (known := self._open.pop(attempt_id, None)) is None:
            return False
        self._open_room -= len(known[0]) + _SETTLEMENT_ROOM
        return True

    def _remember(self, attempt_id: str) -> None:
        self._contexts[attempt_id] = copy_context()
        while len(self._contexts) > _REMEMBERED_CONTEXTS:
            del self._contexts[next(iter(self._contexts))]

    def _enqueue(self, kind: Kind, attempt_id: str, payload: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(kind, attempt_id, encode(kind, payload), loop.create_future())
        self._queue.append(waiting)
        self._undelivered += kind is Kind.CLOSED
        self._queued_bytes += len(waiting.frame)
        if self._writer is None:
            # a context of its own: the writer outlives the call that happened to start it
            self._writer = loop.create_task(self._write(), name="spool writer", context=Context())
        return waiting.durable

    async def _write(self) -> None:
        try:
            while self._queue:
                group, self._queue = self._queue, []
                try:
                    start = await self._in_thread(self._journal.append, b"".join(one.frame for one in group))
                except OSError as error:
                    log.error("spool cannot be written", error=str(error), entries=len(group))
                    self._queue = self._refuse_opened(group, error) + self._queue
                    if self._closed:
                        return
                    await asyncio.sleep(1.0)
                    continue
                for one in group:
                    self._queued_bytes -= len(one.frame)
                    if one.kind is Kind.OPENED and one.attempt_id in self._open:
                        self._open[one.attempt_id] = (self._open[one.attempt_id][0], start.segment)
                    if not one.durable.done():
                        one.durable.set_result(None)
                self._changed.set()
        finally:
            self._writer = None

    def _refuse_opened(self, group: list[_Waiting], error: OSError) -> list[_Waiting]:
        """Fail the attempts that have not left; what was consumed stays queued."""
        for one in group:
            if one.kind is Kind.OPENED:
                self._queued_bytes -= len(one.frame)
                self.withdrawn(one.attempt_id)
                if not one.durable.done():
                    one.durable.set_exception(SpoolFull(f"cannot be written: {error.strerror or error}"))
        return [one for one in group if one.kind is not Kind.OPENED]

    async def _settled_down(self) -> None:
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _advance(self, end: Position) -> None:
        self._cursor = max(self._cursor, end)
        oldest = self._journal.first.segment
        idle = self._at_end and self._journal.size > self._compact_from + 2 * self._open_room
        if not idle and oldest >= self._cursor.segment:
            return
        # an attempt that stays open for long must not pin every segment behind it
        before = self._journal.durable.segment + 1 if idle else self._cursor.segment
        pinned = b"".join(
            encode(Kind.OPENED, payload) for payload, segment in self._open.values() if segment < before
        )
        if idle:
            await self._in_thread(self._compact, pinned)
        else:
            await self._in_thread(self._drop, self._cursor.segment, pinned)
        moved = self._journal.durable.segment
        self._open = {
            key: (payload, moved if segment < before else segment)
            for key, (payload, segment) in self._open.items()
        }

    @property
    def _at_end(self) -> bool:
        return not self._queue and self._writer is None and self._cursor >= self._journal.durable

    def _compact(self, carried: bytes) -> None:
        self._journal.roll()
        self._drop(self._journal.durable.segment, carried)

    def _drop(self, segment: int, carried: bytes) -> None:
        if carried:
            self._journal.append(carried)
        self._journal.drop_before(segment)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **named))


def _dated(entry: entry_pb2.UsageEntry) -> entry_pb2.UsageEntry:
    if not entry.attempt_id:
        raise ValueError("an entry without an attempt_id cannot be told from its repeat")
    if not entry.HasField("occurred_at"):
        entry.occurred_at.GetCurrentTime()
    return entry


def _read_back(journal: Journal) -> tuple[list[entry_pb2.UsageEntry], int]:
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
