"""Draws and scores as runs of the driver, and the streams that their outputs are read from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from orchestra_inference_node.adapters.exllamav2.answer import AnswerReader
from orchestra_inference_node.adapters.exllamav2.driver import Driver
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Draw, End, Idle, Output, Piece, TopTokens

T = TypeVar("T")


def _task(work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    task = asyncio.create_task(work, name=name)
    # a failure that nobody reads any more is nobody's
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


class DrawRun:
    """One draw in the generator."""

    def __init__(self, box: Mailbox, reader: AnswerReader, make_job: Callable[[], Any]) -> None:
        self.box = box
        self.ended = False
        self._reader = reader
        self._make_job = make_job
        self._filters: list[Any] = []

    def open(self) -> Any:
        job = self._make_job()
        self._filters = job.filters
        return job

    def read(self, said: Mapping[str, Any]) -> list[Output]:
        """Raises InvalidRequest when a grammar failed on the answer."""
        for one in self._filters:
            if one.failure is not None:
                raise one.failure
        outputs = self._reader.read(said)
        self.ended = self._reader.ended
        return outputs


class ScoreRun:
    """One text to score; its box gets one piece."""

    def __init__(self, make_job: Callable[[], Any], text_of: Callable[[int], str]) -> None:
        self.box = Mailbox()
        self.ended = False
        self._make_job = make_job
        self._text_of = text_of

    def open(self) -> Any:
        return self._make_job()

    def read(self, said: Mapping[str, Any]) -> list[Output]:
        if said["stage"] != "scored":
            return []
        self.ended = True
        job = said["job"]
        ids = job.sequences[0].input_ids.torch()[0, job.first :].tolist()
        top = [
            TopTokens(tuple(likely), tuple(logprobs), tuple(map(self._text_of, likely)))
            for likely, logprobs in zip(job.top_ids, job.top_logprobs, strict=True)
        ]
        return [Piece(token_ids=ids, logprobs=job.logprobs, top=top, tokens=len(ids))]


class Group:
    """Draws of one prompt. They begin together when the first of their streams is read, so that those that
    follow find the prompt's pages computed by the first."""

    def __init__(
        self,
        draws: tuple[Draw, ...],
        driver: Driver,
        prepare: Callable[[tuple[Draw, ...], list[Mailbox]], list[DrawRun]],
        score_prompt: Callable[[Draw], Coroutine[Any, Any, Piece]],
    ) -> None:
        """`prepare` makes a run of each draw, in a thread; `score_prompt` gives the logprobs of a draw's
        prompt."""
        self._draws = draws
        self._driver = driver
        self._prepare = prepare
        self._score_prompt = score_prompt
        self._boxes = [Mailbox() for _ in draws]
        self._runs: list[DrawRun] = []
        self._open = set(range(len(draws)))
        self._told_end: set[int] = set()
        self._beginning: asyncio.Task[None] | None = None
        self._prompt: asyncio.Task[Piece] | None = None

    def streams(self, idle_s: float) -> tuple[DrawStream, ...]:
        return tuple(DrawStream(self, at, idle_s) for at in range(len(self._draws)))

    async def next(self, at: int, idle_s: float) -> Output | None:
        """What comes next for a draw; None when nothing came for `idle_s` seconds. Raises what ended it."""
        if self._beginning is None:
            self._beginning = _task(self._begin(), "begin draws")
        if not self._beginning.done():
            done, _ = await asyncio.wait([self._beginning], timeout=idle_s)
            if not done:
                return None
        self._beginning.result()
        item = await self._boxes[at].get(idle_s)
        if isinstance(item, End | Exception):
            # it was put there when the generator had let go of it
            self._told_end.add(at)
        if isinstance(item, Exception):
            raise item
        return item

    async def prompt_logprobs(self, at: int, end: End, idle_s: float) -> End | None:
        """The end with the logprobs of the prompt, where the draw asked; None when they took longer than
        `idle_s`. The draws of a group have the same prompt: it is scored once."""
        if self._draws[at].prompt_logprobs is None:
            return end
        if self._prompt is None:
            self._prompt = _task(self._score_prompt(self._draws[at]), "prompt logprobs")
        done, _ = await asyncio.wait([self._prompt], timeout=idle_s)
        return replace(end, prompt_logprobs=self._prompt.result()) if done else None

    async def close(self, at: int) -> None:
        """Return once nothing of the draw is left in the generator."""
        self._open.discard(at)
        if not self._open:
            unfinished = [task for task in (self._beginning, self._prompt) if task and not task.done()]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        if self._runs and at not in self._told_end:
            await asyncio.shield(asyncio.wrap_future(self._driver.cancel(self._runs[at])))

    async def _begin(self) -> None:
        runs = self._runs = await asyncio.to_thread(self._prepare, self._draws, self._boxes)
        for at in sorted(self._open):
            self._driver.begin(runs[at])


class DrawStream:
    """One draw as it comes."""

    def __init__(self, group: Group, at: int, idle_s: float) -> None:
        self._group = group
        self._at = at
        self._idle_s = idle_s
        self._end: End | None = None
        self._ended = False

    def __aiter__(self) -> DrawStream:
        return self

    async def __anext__(self) -> Output:
        if self._ended:
            raise StopAsyncIteration
        if self._end is None:
            item = await self._group.next(self._at, self._idle_s)
            if not isinstance(item, End):
                return Idle() if item is None else item
            self._end = item
        end = await self._group.prompt_logprobs(self._at, self._end, self._idle_s)
        if end is None:
            return Idle()
        self._ended = True
        return end

    async def aclose(self) -> None:
        self._ended = True
        await self._group.close(self._at)
