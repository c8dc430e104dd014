"""An answer that is on its way: events as they come, samples as they finish."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from orchestra_errors import OrchestraError

from .events import Event, Failed, Finished
from .sample import Sample

if TYPE_CHECKING:
    from orchestra.generation.v1.event_pb2 import GenerationEvent
    from orchestra.router.v1.router_service_pb2 import DiverseSummary

    from .connection import Root
    from .reading import Reader

Begin = Callable[[], "tuple[Any, Root, Reader]"]
"""Makes the call: grpc.aio's call object, its span, and a reader for its events."""


class Answer:
    """The events of one request, as an async iterator.

    Nothing is asked before the first event is awaited. Leaving the `async with` block, `aclose()` and
    cancellation of the task that waits end the call at once, in the engine too. Iterating raises kinds of
    `orchestra_errors`; a failed sample of several is a `Failed` event, also kept in `failures`.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._call: Any = None
        self._root: Root | None = None
        self._reader: Reader | None = None
        self._ready: deque[Event] = deque()
        self._over = False
        self.failures: list[Failed] = []

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

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._more()
        return self._ready.popleft()

    async def read(self) -> list[Event]:
        """Every event that is there, one at least; empty at the end."""
        if not self._ready and not self._over:
            try:
                first = await anext(self)
            except StopAsyncIteration:
                return []
            self._ready.appendleft(first)
        found = list(self._ready)
        self._ready.clear()
        return found

    async def aclose(self) -> None:
        """Ends the call. Events that have come and were not read yet are dropped."""
        self._ready.clear()
        if self._over:
            return
        self._over = True
        if self._call is not None:
            self._call.cancel()
        if self._root is not None:
            self._root.end(cancelled=True)

    async def samples(self) -> AsyncIterator[Sample]:
        """Samples as they finish. What fails is left out here and stands in `failures`; where every sample
        failed, the first one's error is raised in the end."""
        finished = 0
        try:
            async for event in self:
                if isinstance(event, Finished):
                    finished += 1
                    yield event.sample
        finally:
            await self.aclose()
        if self.failures and not finished:
            raise self.failures[0].error

    async def collect(self) -> list[Sample]:
        """Every sample, in the order of their indexes. Raises the error of the first that failed."""
        found = [sample async for sample in self.samples()]
        if self.failures:
            raise self.failures[0].error
        return sorted(found, key=lambda sample: sample.index)

    async def text(self) -> AsyncIterator[str]:
        """The answer's text as it comes; for requests of a single sample."""
        from .events import TextDelta

        try:
            async for event in self:
                if isinstance(event, TextDelta) and event.text:
                    yield event.text
        finally:
            await self.aclose()

    async def _more(self) -> None:
        """Reads one message. Sets `_over` at the end; raises kinds."""
        import grpc

        if self._call is None:
            self._call, self._root, self._reader = self._begin()
        assert self._root is not None and self._reader is not None
        try:
            message = await self._call.read()
            if message is grpc.aio.EOF:
                self._over = True
                self._reader.close()
                self._root.end()
                return
            for event in self._events(message):
                self._take(event, self._reader)
        except grpc.aio.AioRpcError as exc:
            from orchestra_rpc import error_from_rpc

            raise self._ended(error_from_rpc(exc)) from None
        except OrchestraError as error:
            raise self._ended(error) from None
        except BaseException:
            # cancelled while waiting: grpc.aio has cancelled the call already
            await self.aclose()
            raise

    def _ended(self, error: OrchestraError) -> OrchestraError:
        self._over = True
        if self._root is not None:
            self._root.end(error)
            error.add_note(f"trace {self._root.trace_id}")
        return error

    def _take(self, message: GenerationEvent, reader: Reader) -> None:
        event = reader.read(message)
        if event is None:
            return
        if isinstance(event, Failed):
            self.failures.append(event)
        self._ready.append(event)

    def _events(self, message: Any) -> Iterable[GenerationEvent]:
        return (message.event,)


class DiverseAnswer(Answer):
    """An answer of several models. `summary` is there when the stream has ended: the selection and the
    diversity report."""

    def __init__(self, begin: Begin) -> None:
        super().__init__(begin)
        self.summary: DiverseSummary | None = None

    def _events(self, message: Any) -> Iterable[GenerationEvent]:
        if message.HasField("summary"):
            self.summary = message.summary
        events: Iterable[GenerationEvent] = message.events
        return events
