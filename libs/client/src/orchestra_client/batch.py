"""Many requests on one stream, answered as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from orchestra_errors import OrchestraError

from .ask import Ask
from .events import Event, Failed, Finished
from .sample import Sample

if TYPE_CHECKING:
    from orchestra.router.v1 import router_service_pb2 as pb

    from .connection import Connection, Root
    from .reading import Reader

Item: TypeAlias = "Ask | tuple[str, Ask]"
"""An Ask, labelled with its position, or with a key of the caller's: unique, at most 128 characters."""

MOST_SAMPLES = 4096
_PACK = 64


class BatchAnswer:
    """Pairs of (key, event), as an async iterator.

    At most `in_flight` asks are out at once: the source is read no faster than answers are taken. A failed
    ask fails alone, as a `Failed` event for each of its samples. Closing, or cancelling the task that waits,
    ends everything.
    """

    def __init__(
        self,
        connected: Callable[[], Connection],
        source: Iterable[Item] | AsyncIterable[Item],
        in_flight: int,
        timeout: float | None,
    ) -> None:
        self._connected = connected
        self._source = source
        self._places = asyncio.Semaphore(in_flight)
        self._timeout = timeout
        self._call: Any = None
        self._root: Root | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._out: dict[str, Reader] = {}
        self._ready: deque[tuple[str, Event]] = deque()
        self._over = False

    @property
    def trace_id(self) -> str:
        """32 hex digits; empty before the call has begun."""
        return self._root.trace_id if self._root is not None else ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trail: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Event]:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._more()
        return self._ready.popleft()

    async def read(self) -> list[tuple[str, Event]]:
        """Every pair that is there, one at least; empty at the end."""
        if not self._ready and not self._over:
            try:
                first = await anext(self)
            except StopAsyncIteration:
                return []
            self._ready.appendleft(first)
        found = list(self._ready)
        self._ready.clear()
        return found

    async def samples(self) -> AsyncIterator[tuple[str, Sample | OrchestraError]]:
        """Each sample as it finishes, or the error of one that failed, with its key."""
        try:
            async for key, event in self:
                if isinstance(event, Finished):
                    yield key, event.sample
                elif isinstance(event, Failed):
                    yield key, event.error
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Ends every ask that is out."""
        self._ready.clear()
        if self._over:
            return
        self._over = True
        if self._call is not None:
            self._call.cancel()
        await self._stop_feeding()
        if self._root is not None:
            self._root.end(cancelled=True)

    async def _more(self) -> None:
        import grpc

        if self._call is None:
            self._start()
        assert self._root is not None
        try:
            message = await self._call.read()
            if message is grpc.aio.EOF:
                self._over = True
                await self._stop_feeding()
                for reader in self._out.values():
                    reader.close()
                self._root.end()
                return
            self._take(message)
        except grpc.aio.AioRpcError as exc:
            from orchestra_rpc import error_from_rpc

            await self._failed(error_from_rpc(exc))
        except OrchestraError as error:
            await self._failed(error)
        except asyncio.CancelledError:
            # either ours, or the call was ended because the source failed
            source = self._source_error()
            await self.aclose()
            if source is not None:
                raise source from None
            raise

    def _start(self) -> None:
        from .connection import Root

        connection = self._connected()
        self._root = Root(connection.telemetry, "orchestra batch", {})
        with self._root.active():
            self._call = connection.router.GenerateBatch(timeout=self._timeout)
            self._feeder = asyncio.create_task(self._feed(), name="orchestra batch source")

    async def _feed(self) -> None:
        """Sends asks as places come free, all that may go in one message."""
        import grpc

        from orchestra.router.v1 import router_service_pb2 as pb

        pack = pb.GenerateBatchRequest()
        position = 0
        try:
            async with aclosing(_each(self._source)) as items:
                async for item in items:
                    full = self._places.locked() or len(pack.items) >= _PACK
                    if pack.items and (item is None or full):
                        await self._call.write(pack)
                        pack = pb.GenerateBatchRequest()
                    if item is None:
                        continue
                    await self._places.acquire()
                    key, ask = item if isinstance(item, tuple) else (str(position), item)
                    position += 1
                    self._add(pack, key, ask)
            if pack.items:
                await self._call.write(pack)
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            # the call has ended; whoever reads it learns why
            return
        except Exception:
            self._call.cancel()
            raise

    def _add(self, pack: pb.GenerateBatchRequest, key: str, ask: Ask) -> None:
        from .reading import Reader
        from .request import generation_request

        n = ask.n if ask.n is not None and 1 <= ask.n <= MOST_SAMPLES else 1
        try:
            generation = generation_request(ask)
        except OrchestraError as error:
            self._ready.extend((key, _refused(index, error)) for index in range(n))
            self._places.release()
            return
        if key in self._out:
            raise ValueError(f"key {key!r} is out already")
        self._out[key] = Reader(n)
        pack.items.add(correlation_id=key, generation=generation)

    def _take(self, message: pb.GenerateBatchResponse) -> None:
        for labelled in message.events:
            key = labelled.correlation_id
            reader = self._out.get(key)
            if reader is None:
                continue
            event = reader.read(labelled.event)
            if event is not None:
                self._ready.append((key, event))
            if reader.done:
                del self._out[key]
                self._places.release()

    async def _failed(self, error: OrchestraError) -> None:
        self._over = True
        await self._stop_feeding()
        if self._root is not None:
            self._root.end(error)
            error.add_note(f"trace {self._root.trace_id}")
        raise error from None

    async def _stop_feeding(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.wait([self._feeder])
            self._source_error()

    def _source_error(self) -> BaseException | None:
        feeder = self._feeder
        return feeder.exception() if feeder is not None and feeder.done() and not feeder.cancelled() else None


async def _each(source: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item | None, None]:
    """Items as they come; None before one that has to be waited for."""
    if not isinstance(source, AsyncIterable):
        for item in source:
            yield item
        return
    iterator = aiter(source)
    while True:
        following = asyncio.ensure_future(anext(iterator, None))
        try:
            await asyncio.sleep(0)
            if not following.done():
                yield None
            found = await following
        finally:
            following.cancel()
        if found is None:
            return
        yield found


def _refused(index: int, error: OrchestraError) -> Failed:
    from orchestra.generation.v1 import provenance_pb2, usage_pb2

    return Failed(index, error, "", provenance_pb2.Provenance(), usage_pb2.Usage(), usage_pb2.Cost())
