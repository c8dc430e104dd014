"""Draws of one prompt in a server: one streamed request, a stream for each draw."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from orchestra_errors import DataLoss, OrchestraError, Unavailable, WorkerLost
from orchestra_inference_node.adapters.exchanges import Exchange, Exchanges
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Draw, End, Idle, Output, Piece


class Reader(Protocol):
    """Reads the chunks of one draw in order. `ended` is set once the draw has its End."""

    ended: bool

    def read(self, said: dict[str, Any]) -> list[Output]:
        """What a chunk says. Raises LookupError, TypeError or ValueError for one that it cannot read."""
        ...

    def error(self, said: dict[str, Any]) -> OrchestraError:
        """What an error of the server means."""
        ...


Prepare = Callable[[tuple[Draw, ...]], Awaitable[tuple[dict[str, Any], Sequence[Reader]]]]
"""Gives the request for the draws and a reader for each."""


class Run:
    """One request to the server. It begins when the first of its streams is read.

    A request is given up as a whole: a draw that is closed before its end holds its slot until the others
    have ended or are closed, too.
    """

    def __init__(
        self,
        draws: tuple[Draw, ...],
        model: str,
        exchanges: Exchanges,
        prepare: Prepare,
        prompt_logprobs: Callable[[Draw], Awaitable[Piece]],
    ) -> None:
        self._draws = draws
        self._model = model
        self._exchanges = exchanges
        self._prepare = prepare
        self._prompt_logprobs = prompt_logprobs
        self._boxes = [Mailbox() for _ in draws]
        self._readers: Sequence[Reader] = ()
        self._open = set(range(len(draws)))
        self._beginning: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._driving: asyncio.Task[None] | None = None
        self._prompt: asyncio.Task[Piece] | None = None
        self._ends: dict[int, End] = {}

    def streams(self, idle_s: float) -> tuple[RunStream, ...]:
        return tuple(RunStream(self, at, idle_s) for at in range(len(self._draws)))

    async def next(self, at: int, idle_s: float) -> Output | None:
        """What comes next for the draw; None when nothing came for `idle_s` seconds."""
        if self._driving is None:
            if self._beginning is None:
                self._beginning = asyncio.create_task(self._begin(), name="begin run")
            await asyncio.shield(self._beginning)
        end = self._ends.get(at)
        if end is None:
            item = await self._boxes[at].get(idle_s)
            if isinstance(item, Exception):
                raise item
            if not isinstance(item, End) or self._draws[at].prompt_logprobs is None:
                return item
            end = self._ends[at] = item
        if self._prompt is None:
            self._prompt = asyncio.create_task(self._score_prompt(at), name="prompt logprobs")
        done, _ = await asyncio.wait([self._prompt], timeout=idle_s)
        return replace(end, prompt_logprobs=self._prompt.result()) if done else None

    async def _score_prompt(self, at: int) -> Piece:
        return await self._prompt_logprobs(self._draws[at])

    async def close(self, at: int) -> None:
        """Return once the draw's slot is free."""
        self._open.discard(at)
        if not self._open:
            unfinished = [task for task in (self._beginning, self._prompt) if task and not task.done()]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            if self._exchange is not None:
                self._exchange.give_up()
        ended = bool(self._readers) and self._readers[at].ended
        if self._driving is not None and not (self._open and ended):
            await asyncio.shield(self._driving)

    async def _begin(self) -> None:
        request, self._readers = await self._prepare(self._draws)
        self._exchange = self._exchanges.start(request, self._on_chunk)
        self._driving = asyncio.create_task(self._drive(self._exchange), name="run")

    async def _drive(self, exchange: Exchange) -> None:
        """Returns when the server has let go of the slots; by then every draw has its end or an error."""
        await asyncio.wait([exchange.done])
        error: BaseException | None = None
        if not exchange.done.cancelled():
            error = exchange.done.exception()
        if error is None:
            error = WorkerLost(self._model, "its answer broke off without an end", retry_after=1.0)
        elif not isinstance(error, OrchestraError):
            error = Unavailable(f"the engine of {self._model} ({error})", retry_after=1.0)
        self._fail(error)

    def _on_chunk(self, said: dict[str, Any]) -> bool:
        """True gives the request up in the server. In its own thread nobody sees an exception."""
        if not self._open:
            return True
        try:
            if (wrong := said.get("error")) is not None:
                return self._fail(self._readers[0].error(wrong))
            at = said["index"] if len(self._boxes) > 1 else 0
            reader = self._readers[at]
            if reader.ended:
                return False
            try:
                for output in reader.read(said):
                    self._boxes[at].put(output)
            except OrchestraError as error:
                # this draw's alone
                reader.ended = True
                self._boxes[at].put(error)
            return reader.ended and all(one.ended for one in self._readers)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return self._fail(DataLoss(f"the answer of {self._model}", f"{type(error).__name__}: {error}"))
        except Exception as error:
            return self._fail(error)

    def _fail(self, error: Exception) -> bool:
        """Tell every draw that has not ended."""
        for reader, box in zip(self._readers, self._boxes, strict=True):
            if not reader.ended:
                reader.ended = True
                box.put(error)
        return True


class RunStream:
    """One draw as it comes."""

    def __init__(self, run: Run, at: int, idle_s: float) -> None:
        self._run = run
        self._at = at
        self._idle_s = idle_s
        self._ended = False

    def __aiter__(self) -> RunStream:
        return self

    async def __anext__(self) -> Output:
        if self._ended:
            raise StopAsyncIteration
        item = await self._run.next(self._at, self._idle_s)
        if item is None:
            return Idle()
        self._ended = isinstance(item, End)
        return item

    async def aclose(self) -> None:
        self._ended = True
        await self._run.close(self._at)


def each_alone(
    draws: tuple[Draw, ...],
    idle_s: float,
    model: str,
    exchanges: Exchanges,
    prepare: Callable[[Draw], Awaitable[tuple[dict[str, Any], Reader]]],
    prompt_logprobs: Callable[[Draw], Awaitable[Piece]],
) -> tuple[RunStream, ...]:
    """A run for each draw, where the server shares prompts by itself or not at all."""

    async def prepare_one(draws: tuple[Draw, ...]) -> tuple[dict[str, Any], Sequence[Reader]]:
        request, reader = await prepare(draws[0])
        return request, [reader]

    runs = [Run((draw,), model, exchanges, prepare_one, prompt_logprobs) for draw in draws]
    return tuple(stream for run in runs for stream in run.streams(idle_s))
