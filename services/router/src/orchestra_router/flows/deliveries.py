"""What leaves after the answer: draws to the cache, and what was held for nothing given back.

Nothing here delays a caller. Each delivery carries the trace of the call that it comes from; a message that
gathers deliveries of several calls is a trace of its own, since it belongs to none of them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from orchestra.cache.v1 import cache_service_pb2 as cache_pb
from orchestra_errors import OrchestraError
from orchestra_rpc import deadline_scope
from orchestra_telemetry import call_trace_id

from ..ports import Cache, Ledger
from .item import Item
from .keeping import Keeping

log = structlog.get_logger()
MOST_WAITING = 4096
MOST_AT_ONCE = 128
MOST_BYTES_AT_ONCE = 8 << 20


@dataclass(frozen=True, slots=True)
class _Parcel:
    store: cache_pb.StoreRequest
    trace: str
    context: contextvars.Context


class Deliveries:
    """A bounded queue and one task that empties it, whatever is ready at a time."""

    def __init__(self, cache: Cache, ledger: Ledger) -> None:
        self._cache = cache
        self._ledger = ledger
        self._waiting: deque[_Parcel] = deque()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self._small: set[asyncio.Task[Any]] = set()
        self.dropped = 0
        """Stores that were given up because the queue was full: the draws are lost to the cache, nothing else
        is."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._deliver(), name="deliveries", context=contextvars.Context())

    async def close(self, timeout_s: float = 2.0) -> None:
        """Deliver what waits, for at most `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
                await asyncio.gather(*self._small, return_exceptions=True)
        except TimeoutError:
            log.warning("deliveries given up", waiting=len(self._waiting))
        for task in (self._task, *self._small):
            if task is not None:
                task.cancel()

    def keep(self, item: Item, keeping: Keeping) -> None:
        """Store what the item drew, and close or release its replay record."""
        stores = keeping.requests()
        for store in stores:
            self._put(store)
        if item.owns_replay and not any(store.request_id for store in stores):
            self._soon(self._cache.release(item.tenant, item.request_id), "release of a replay record")

    def release(self, reservation_id: str) -> None:
        """Give back a reservation under which nothing was consumed."""
        self._soon(self._ledger.release([reservation_id]), "release of a reservation")

    def _put(self, store: cache_pb.StoreRequest) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                log.warning("draws not stored, the queue is full", dropped=self.dropped)
            return
        self._waiting.append(_Parcel(store, call_trace_id(), _after_the_call()))
        self._empty.clear()
        self._wake.set()

    def _soon(self, work: Awaitable[object], what: str) -> None:
        async def run() -> None:
            try:
                await work
            except OrchestraError as error:
                log.info("delivery failed", what=what, reason=error.reason)

        task = asyncio.get_running_loop().create_task(run(), context=_after_the_call())
        self._small.add(task)
        task.add_done_callback(self._small.discard)

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                parcels = self._next()
                one_trace = len({parcel.trace for parcel in parcels}) == 1
                context = parcels[0].context if one_trace else contextvars.Context()
                await loop.create_task(self._send([parcel.store for parcel in parcels]), context=context)
            self._empty.set()

    def _next(self) -> list[_Parcel]:
        parcels: list[_Parcel] = []
        size = 0
        while self._waiting and len(parcels) < MOST_AT_ONCE and size < MOST_BYTES_AT_ONCE:
            parcels.append(self._waiting.popleft())
            size += parcels[-1].store.ByteSize()
        return parcels

    async def _send(self, stores: list[cache_pb.StoreRequest]) -> None:
        try:
            await self._cache.store_many(stores)
        except OrchestraError as error:
            log.info("draws not stored", count=len(stores), reason=error.reason)


def _after_the_call() -> contextvars.Context:
    """The caller's context without its deadline: a delivery outlives the call."""
    copied: Callable[[], contextvars.Context] = contextvars.copy_context
    with deadline_scope(None):
        return copied()
