"""The journal in a thread of its own, so that no fsync stops the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from orchestra_accounting.journal import Journal, Position
from orchestra_accounting.records import Frame

P = ParamSpec("P")
T = TypeVar("T")


class JournalThread:
    """A `Journal` whose work happens elsewhere, in order; what it knows is read here."""

    def __init__(self, journal: Journal, thread: ThreadPoolExecutor) -> None:
        self._journal = journal
        self._thread = thread

    @classmethod
    async def open(cls, path: Path, segment_bytes: int) -> Self:
        """Raises JournalLocked (another process owns the folder) and OSError."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        try:
            journal = await asyncio.get_running_loop().run_in_executor(thread, Journal, path, segment_bytes)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(journal, thread)

    @property
    def first(self) -> Position:
        return self._journal.first

    @property
    def durable(self) -> Position:
        return self._journal.durable

    @property
    def size(self) -> int:
        return self._journal.size

    async def look(self, work: Callable[[Journal], T]) -> T:
        """Whatever else reads the journal."""
        return await self._run(work, self._journal)

    async def append(self, data: bytes) -> Position:
        return await self._run(self._journal.append, data)

    async def read(self, start: Position, frames: int) -> tuple[list[Frame], Position]:
        return await self._run(self._journal.read, start, frames)

    async def drop_before(self, segment: int, carried: bytes) -> None:
        """Delete the segments before that one; `carried` is written anew first."""
        await self._run(self._drop, segment, carried)

    async def compact(self, carried: bytes) -> None:
        """Begin a new segment with `carried` and delete all others."""
        await self._run(self._compact, carried)

    async def close(self) -> None:
        await self._run(self._journal.close)
        self._thread.shutdown(wait=False)

    def _compact(self, carried: bytes) -> None:
        self._journal.roll()
        self._drop(self._journal.durable.segment, carried)

    def _drop(self, segment: int, carried: bytes) -> None:
        if carried:
            self._journal.append(carried)
        self._journal.drop_before(segment)

    async def _run(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **named))
