"""The calls that a server answers right now, and the one way to end one from outside with an explanation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from orchestra_errors import DeadlineExceeded, Draining, OrchestraError, StreamSilent
from orchestra_rpc.deadline import Deadline, deadline_scope


class RunningCall:
    """One handler. Deadline, silence and drain all end it in the same way: note why, then cancel its task."""

    def __init__(self, method: str, *, open_ended: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.method = method
        self.open_ended = open_ended
        self.task = task
        self.ending: OrchestraError | None = None
        """Why the call was ended from outside."""
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._blocked = False
        self._silence: asyncio.TimerHandle | None = None

    def end(self, error: OrchestraError) -> None:
        """Cancel the handler; the interceptor answers `error`. The first reason stays."""
        if self.ending is None:
            self.ending = error
            self.task.cancel()

    def moved(self) -> None:
        """A message came or went: the stream is not silent."""
        self._last = self._loop.time()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While the receiver is slow to take a message, the silence is the receiver's, not ours."""
        self._blocked = True
        try:
            yield
        finally:
            self._blocked = False
            self._last = self._loop.time()

    @contextmanager
    def limits(self, seconds: float | None, silence_s: float) -> Iterator[None]:
        """Inside, the call ends after `seconds` (None: never) or when it moves nothing for `silence_s` (0:
        never)."""
        expiry: asyncio.TimerHandle | None = None
        deadline: Deadline | None = None
        if seconds is not None:
            deadline = Deadline.after(seconds)
            expiry = self._loop.call_later(
                seconds, self.end, DeadlineExceeded(self.method.lstrip("/"), seconds)
            )
        if silence_s > 0:
            self._silence = self._loop.call_later(silence_s, self._look, silence_s)
        try:
            with deadline_scope(deadline):
                yield
        finally:
            if expiry is not None:
                expiry.cancel()
            if self._silence is not None:
                self._silence.cancel()

    def _look(self, limit: float) -> None:
        # looked at once per limit and not re-armed per message: a stream of tokens must not churn timers
        now = self._loop.time()
        quiet = 0.0 if self._blocked else now - self._last
        if quiet >= limit:
            self.end(StreamSilent(self.method.lstrip("/"), limit))
        else:
            self._silence = self._loop.call_later(limit - quiet, self._look, limit)


class RunningCalls:
    """All of a server's calls, for the drain."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: set[RunningCall] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._calls)

    @contextmanager
    def hold(self, call: RunningCall) -> Iterator[None]:
        """Count `call` until its answer has left; raises Draining when no new calls are taken."""
        if self.draining:
            raise self.refusal()
        self._calls.add(call)
        self._idle.clear()
        try:
            yield
        finally:
            self._calls.discard(call)
            if not self._calls:
                self._idle.set()

    def refusal(self) -> Draining:
        return Draining(self._name, retry_after=1.0)

    def begin_drain(self) -> None:
        """Take no new calls, and end those that would never end by themselves."""
        self.draining = True
        for call in self._calls:
            if call.open_ended:
                call.end(self.refusal())

    def end_all(self) -> int:
        """End what still runs with DRAINING; returns how many."""
        for call in self._calls:
            call.end(self.refusal())
        return len(self._calls)

    async def idle(self, seconds: float) -> bool:
        """Wait until nothing runs; False after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return not self._calls
        return True
