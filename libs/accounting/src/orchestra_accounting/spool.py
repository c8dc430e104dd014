"""The durable spool: what an attempt consumed is never lost, whoever is killed and however long the ledger is
down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from orchestra.ledger.v1 import entry_pb2
from orchestra_accounting.group_writer import GroupWriter, Waiting
from orchestra_accounting.journal import Position
from orchestra_accounting.journal_thread import JournalThread
from orchestra_accounting.open_attempts import SETTLEMENT_ROOM, OpenAttempts, read_back
from orchestra_accounting.records import Kind
from orchestra_errors import Unavailable

log = structlog.get_logger()
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


class Spool:
    """One process's journal of attempts, in a folder of its own. Belongs to one event loop.

    Writes are grouped: whatever waits goes out with one fsync, in a thread. `max_bytes` bounds the folder;
    room for the end of every opened attempt is kept free.
    """

    def __init__(self, journal: JournalThread, max_bytes: int, undelivered: int) -> None:
        self._journal = journal
        self._undelivered = undelivered
        self._max_bytes = max_bytes
        self._open = OpenAttempts()
        self._writer = GroupWriter(journal, self._written, self._refused)
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
        journal = await JournalThread.open(Path(path), max(4_096, min(1_000_000, max_bytes // 8)))
        try:
            unfinished, closed = await journal.look(read_back)
        except BaseException:
            await journal.close()
            raise
        spool = cls(journal, max_bytes, closed)
        for entry in unfinished:
            log.warning(
                "unfinished attempt closed as unknown", attempt_id=entry.attempt_id, model=entry.model
            )
            spool._put_end(entry.attempt_id, entry.SerializeToString())
        await spool._writer.settle_down()
        return spool

    @property
    def used_bytes(self) -> int:
        """What is on disk, waits to be written or is kept free for attempts that are open."""
        return self._journal.size + self._writer.queued_bytes + self._open.room

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
        self._open.forget(entry.attempt_id)
        self._need(2 * len(payload) + SETTLEMENT_ROOM)
        self._open.add(entry.attempt_id, payload, self._journal.durable.segment)
        durable = self._writer.put(Kind.OPENED, entry.attempt_id, payload)
        try:
            await durable
        except asyncio.CancelledError:
            self.withdrawn(entry.attempt_id)
            raise

    def withdrawn(self, attempt_id: str) -> None:
        """The attempt never left: nothing was consumed, nothing is delivered. Unknown ids are no error."""
        if self._open.forget(attempt_id) and not self._closed:
            self._writer.put(Kind.WITHDRAWN, attempt_id, attempt_id.encode())

    def settled(self, entry: entry_pb2.UsageEntry) -> asyncio.Future[None]:
        """End an attempt with what it consumed. Taken at once; await the result to know that it is durable.

        An opened attempt is always taken until `close`; one that was never opened raises SpoolFull when there
        is no room.
        """
        entry = _dated(entry)
        payload = entry.SerializeToString()
        if self._closed or not self._open.forget(entry.attempt_id):
            self._need(len(payload))
        self._remember(entry.attempt_id)
        return self._put_end(entry.attempt_id, payload)

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
            frames, end = await self._journal.read(start, limit)
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
        await self._writer.end()
        if self.all_delivered and not self._open and self._journal.size and self._writer.idle:
            await self._journal.compact(b"")
        await self._journal.close()

    def _need(self, more: int) -> None:
        if self._closed:
            raise SpoolFull("is closed")
        if self.used_bytes + more > self._max_bytes:
            raise SpoolFull(f"holds {self.used_bytes} of {self._max_bytes} bytes")

    def _remember(self, attempt_id: str) -> None:
        self._contexts[attempt_id] = copy_context()
        while len(self._contexts) > _REMEMBERED_CONTEXTS:
            del self._contexts[next(iter(self._contexts))]

    def _put_end(self, attempt_id: str, payload: bytes) -> asyncio.Future[None]:
        durable = self._writer.put(Kind.CLOSED, attempt_id, payload)
        self._undelivered += 1
        return durable

    def _written(self, group: list[Waiting], start: Position) -> None:
        for one in group:
            if one.kind is Kind.OPENED:
                self._open.place(one.attempt_id, start.segment)
        self._changed.set()

    def _refused(self, attempt_id: str, error: OSError) -> SpoolFull:
        self.withdrawn(attempt_id)
        return SpoolFull(f"cannot be written: {error.strerror or error}")

    async def _advance(self, end: Position) -> None:
        self._cursor = max(self._cursor, end)
        at_end = self._writer.idle and self._cursor >= self._journal.durable
        idle = at_end and self._journal.size > self._compact_from + 2 * self._open.room
        if not idle and self._journal.first.segment >= self._cursor.segment:
            return
        before = self._journal.durable.segment + 1 if idle else self._cursor.segment
        carried = self._open.carried(before)
        if idle:
            await self._journal.compact(carried)
        else:
            await self._journal.drop_before(self._cursor.segment, carried)
        self._open.moved(before, self._journal.durable.segment)


def _dated(entry: entry_pb2.UsageEntry) -> entry_pb2.UsageEntry:
    if not entry.attempt_id:
        raise ValueError("an entry without an attempt_id cannot be told from its repeat")
    if not entry.HasField("occurred_at"):
        entry.occurred_at.GetCurrentTime()
    return entry
