"""One draw: a thread of ours that waits for the engine, and the stream of what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from orchestra_errors import Unavailable
from orchestra_inference_node.adapters.ctranslate2.steps import Steps
from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import Draw, End, Idle, Output

Decode = Callable[[list[str], Draw, Steps], None]
"""Lets the engine read a prompt and write; returns when it has let go of the slot."""


class Run:
    """Begins when it is first read. The engine is told to stop by its callback, so at the next token."""

    def __init__(
        self,
        draw: Draw,
        source: Callable[[], list[str]],
        decode: Decode,
        steps: Callable[[Mailbox], Steps],
        threads: Executor,
        model: str,
        idle_s: float,
    ) -> None:
        """`source` gives the prompt's tokens or raises InvalidRequest."""
        self._draw = draw
        self._source = source
        self._decode = decode
        self._box = Mailbox()
        self._steps = steps(self._box)
        self._threads = threads
        self._model = model
        self._idle_s = idle_s
        self._working: asyncio.Future[None] | None = None
        self._over = False

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Output:
        if self._over:
            raise StopAsyncIteration
        if self._working is None:
            source = self._source()
            self._working = asyncio.get_running_loop().run_in_executor(self._threads, self._work, source)
        item = await self._box.get(self._idle_s)
        if item is None:
            return Idle()
        self._over = isinstance(item, End | Exception)
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self) -> None:
        self._over = self._steps.given_up = True
        if self._working is not None:
            await asyncio.shield(self._working)

    def _work(self, source: list[str]) -> None:
        """In a thread; what it puts last is an End or an error."""
        try:
            if not self._steps.given_up:
                self._decode(source, self._draw, self._steps)
            self._steps.finish()
        except Exception as error:
            self._box.put(Unavailable(f"the engine of {self._model} ({error})", retry_after=1.0))
