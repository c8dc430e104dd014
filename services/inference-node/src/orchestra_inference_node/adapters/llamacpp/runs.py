"""Draws of one prompt in the engine: one request to it, a stream for each draw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from orchestra_errors import OrchestraError, Unavailable
from orchestra_inference_node.adapters.llamacpp.chunks import ChunkReader
from orchestra_inference_node.adapters.llamacpp.vocabulary import Vocabulary
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Draw, End, Idle, Output, Piece


class Run:
    """One request to the engine. It begins when the first of its streams is read.

    The engine gives up a request as a whole: a draw that is closed before its end holds its slot until the
    others have ended or are closed, too.
    """

    def __init__(
        self,
        draws: tuple[Draw, ...],
        model: str,
        server: Any,
        vocabulary: Vocabulary,
        threads: Executor,
        prepare: Callable[[tuple[Draw, ...]], Awaitable[tuple[dict[str, Any], dict[int, str]]]],
        prompt_logprobs: Callable[[Draw], Awaitable[Piece]],
    ) -> None:
        """`prepare` gives the request and the texts of the stop tokens."""
        self._draws = draws
        self._model = model
        self._server = server
        self._vocabulary = vocabulary
        self._threads = threads
        self._prepare = prepare
        self._prompt_logprobs = prompt_logprobs
        self._boxes = [Mailbox() for _ in draws]
        self._readers: list[ChunkReader] = []
        self._open = set(range(len(draws)))
        self._done: asyncio.Future[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._prompt: asyncio.Task[Piece] | None = None
        self._ends: dict[int, End] = {}

    def streams(self, idle_s: float) -> tuple[RunStream, ...]:
        return tuple(RunStream(self, at, idle_s) for at in range(len(self._draws)))

    async def next(self, at: int, idle_s: float) -> Output | None:
        """What comes next for the draw; None when nothing came for `idle_s` seconds."""
        if self._done is None:
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
        ended = bool(self._readers) and self._readers[at].ended
        if self._done is not None and not (self._open and ended):
            await asyncio.shield(self._done)

    async def _begin(self) -> None:
        request, stop_texts = await self._prepare(self._draws)
        forked = len(self._draws) > 1
        self._readers = [
            ChunkReader(draw, self._model, stop_texts, self._vocabulary, forked=forked and at > 0)
            for at, draw in enumerate(self._draws)
        ]
        payload = json.dumps(request).encode()
        self._done = asyncio.get_running_loop().run_in_executor(self._threads, self._drive, payload)

    def _drive(self, payload: bytes) -> None:
        """In a thread: returns when the engine has let go of the slots."""
        why = "it stopped without a finish"
        try:
            self._server.handle_completions(payload, self._on_chunk)
        except Exception as error:
            why = str(error)
        self._fail(Unavailable(f"the engine of {self._model} ({why})", retry_after=1.0))

    def _on_chunk(self, chunk: bytes) -> bool:
        """True gives the request up in the engine. An exception here would be swallowed by the binding."""
        if not self._open:
            return True
        try:
            data = json.loads(chunk)
            if "choices" not in data:
                return self._fail(self._readers[0].error(data))
            said = data["__verbose"]
            at = said["index"] if len(self._boxes) > 1 else 0
            reader = self._readers[at]
            if reader.ended:
                return False
            box = self._boxes[at]
            try:
                for output in reader.read(said):
                    box.put(output)
            except OrchestraError as error:
                # this draw's alone
                reader.ended = True
                box.put(error)
            if not reader.ended:
                return False
            return all(one.ended for one in self._readers)
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
