"""One thread that writes, committing whatever waits at once, and a few that read."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from orchestra_cost_ledger.adapters.sqlite.migrations import migrate
from orchestra_errors import Unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_MOST_PER_COMMIT = 256
_STORE = "the ledger's store"


def connect(path: Path) -> sqlite3.Connection:
    """A connection that survives a power loss with everything it has committed."""
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=10.0, cached_statements=256
    )
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000", "cache_size = -8000"):
        db.execute(f"PRAGMA {pragma}").fetchall()
    return db


class _Unit(NamedTuple):
    work: Work[Any]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Writer:
    """Runs units of work one after the other; those that wait together share one commit.

    A unit that raises takes back its own changes only. `on_begin` is told of every transaction, `on_rollback`
    of what is taken back, both in the writer's thread. A caller learns the outcome after the commit, so that
    what was answered is on disk.
    """

    def __init__(self, path: Path, on_begin: Callable[[], None], on_rollback: Callable[[], None]) -> None:
        self._db = connect(path)
        migrate(self._db)
        self._on_begin = on_begin
        self._on_rollback = on_rollback
        self._units: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger writer", daemon=True)
        self._closed = False
        self._thread.start()

    async def run(self, work: Work[T]) -> T:
        """Durable when it returns. A caller that is cancelled meanwhile does not undo the work."""
        if self._closed:
            raise Unavailable(_STORE)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._units.put(_Unit(work, answer, loop))
        return await answer

    async def close(self) -> None:
        """Finish what waits, then close the database."""
        if not self._closed:
            self._closed = True
            self._units.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        last = False
        while not last:
            units = [self._units.get()]
            while len(units) < _MOST_PER_COMMIT:
                try:
                    units.append(self._units.get_nowait())
                except queue.Empty:
                    break
            last = None in units
            if wanted := [unit for unit in units if unit is not None]:
                _answer(wanted, self._commit(wanted))
        self._db.close()

    def _commit(self, units: list[_Unit]) -> list[_Outcome[Any]]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._on_begin()
            outcomes = [self._one(unit.work) for unit in units]
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._on_rollback()
            return [_Outcome(None, _kind(error))] * len(units)
        return outcomes

    def _one(self, work: Work[Any]) -> _Outcome[Any]:
        self._db.execute("SAVEPOINT unit")
        try:
            outcome = _Outcome[Any](work(self._db), None)
        except Exception as error:
            # a full disk may have rolled the whole transaction back; then the commit fails for all
            self._db.execute("ROLLBACK TO unit")
            self._on_rollback()
            outcome = _Outcome(None, _kind(error))
        self._db.execute("RELEASE unit")
        return outcome


class _Outcome(NamedTuple, Generic[T]):
    value: T | None
    error: Exception | None


def _kind(error: Exception) -> Exception:
    """A disk that is full or a file that is locked may be better later; other errors are what they are."""
    if isinstance(error, sqlite3.OperationalError):
        unavailable = Unavailable(f"{_STORE} ({error})", retry_after=1.0)
        unavailable.__cause__ = error
        return unavailable
    return error


def _answer(units: list[_Unit], outcomes: list[_Outcome[Any]]) -> None:
    def deliver() -> None:
        for unit, outcome in zip(units, outcomes, strict=True):
            if unit.answer.done():
                continue
            if outcome.error is not None:
                unit.answer.set_exception(outcome.error)
            else:
                unit.answer.set_result(outcome.value)

    loop = units[0].loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(deliver)


class Readers:
    """Connections that only read, one per thread."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        self._path = path
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger reader")

    async def run(self, work: Work[T]) -> T:
        """A consistent view: what one unit reads belongs to one moment."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for db in self._all:
            db.close()

    def _run(self, work: Work[T]) -> T:
        db: sqlite3.Connection | None = getattr(self._mine, "db", None)
        if db is None:
            db = connect(self._path)
            db.execute("PRAGMA query_only = ON")
            self._mine.db = db
            self._all.append(db)
        db.execute("BEGIN")
        try:
            return work(db)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{_STORE} ({error})", retry_after=1.0) from error
        finally:
            db.execute("ROLLBACK")
