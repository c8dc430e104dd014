"""Records on their way to the disk: whatever waits goes out with one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

import structlog

from orchestra_accounting.journal import Position
from orchestra_accounting.journal_thread import JournalThread
from orchestra_accounting.records import Kind, encode

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that is not durable yet."""

    kind: Kind
    attempt_id: str
    frame: bytes
    durable: asyncio.Future[None]


class GroupWriter:
    """One task writes, as long as something waits.

    `written` hears of every group with the place where it begins. While the disk refuses, records of what was
    consumed are tried again; those of attempts that have not left fail with what `refused` answers.
    """

    def __init__(
        self,
        journal: JournalThread,
        written: Callable[[list[Waiting], Position], None],
        refused: Callable[[str, OSError], Exception],
    ) -> None:
        self._journal = journal
        self._written = written
        self._refused = refused
        self._queue: list[Waiting] = []
        self._queued_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._ending = False

    @property
    def queued_bytes(self) -> int:
        return self._queued_bytes

    @property
    def idle(self) -> bool:
        """Whether all that was put is durable."""
        return not self._queue and self._task is None

    def put(self, kind: Kind, attempt_id: str, payload: bytes) -> asyncio.Future[None]:
        """Taken at once, in order; the result tells when it is durable."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(kind, attempt_id, encode(kind, payload), loop.create_future())
        self._queue.append(waiting)
        self._queued_bytes += len(waiting.frame)
        if self._task is None:
            # a context of its own: the writer outlives the call that happened to start it
            self._task = loop.create_task(self._write(), name="spool writer", context=Context())
        return waiting.durable

    async def settle_down(self) -> None:
        """Until nothing waits."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def end(self) -> None:
        """As `settle_down`, but a disk that refuses is not tried again."""
        self._ending = True
        await self.settle_down()

    async def _write(self) -> None:
        try:
            while self._queue:
                group, self._queue = self._queue, []
                try:
                    start = await self._journal.append(b"".join(one.frame for one in group))
                except OSError as error:
                    log.error("spool cannot be written", error=str(error), entries=len(group))
                    kept = self._refuse_opened(group, error)
                    self._queue = kept + self._queue
                    if self._ending:
                        return
                    await asyncio.sleep(1.0)
                    continue
                self._queued_bytes -= sum(len(one.frame) for one in group)
                self._written(group, start)
                for one in group:
                    if not one.durable.done():
                        one.durable.set_result(None)
        finally:
            self._task = None

    def _refuse_opened(self, group: list[Waiting], error: OSError) -> list[Waiting]:
        """Fail the attempts that have not left; what was consumed stays queued."""
        for one in group:
            if one.kind is Kind.OPENED:
                self._queued_bytes -= len(one.frame)
                because = self._refused(one.attempt_id, error)
                if not one.durable.done():
                    one.durable.set_exception(because)
        return [one for one in group if one.kind is not Kind.OPENED]
