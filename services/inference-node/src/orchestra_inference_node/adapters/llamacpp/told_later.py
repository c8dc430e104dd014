"""Logprobs that the server keeps to itself while it draws, and tells when it is asked again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable

from orchestra_inference_node.domain.drawing import Draw, End, Idle, Output, Piece
from orchestra_inference_node.ports import Outputs

Score = Callable[[tuple[int, ...], tuple[int, ...], int], Awaitable[Piece]]
"""The model's own logprobs of a target after a prompt, with so many of the likeliest; see Engine.score."""


class ToldLater:
    """A draw whose logprobs are the model's own. Pieces wait from the first one on that lacks a logprob until
    the draw has ended; then the server is asked for what is missing. The draw's slot is held until then."""

    def __init__(self, draw: Draw, stream: Outputs, score: Score, idle_s: float) -> None:
        """`stream` gives token ids in any case, and NaN where a logprob is missing."""
        self._draw = draw
        self._stream = stream
        self._score = score
        self._idle_s = idle_s
        self._outputs = self._told()

    def __aiter__(self) -> ToldLater:
        return self

    async def __anext__(self) -> Output:
        return await anext(self._outputs)

    async def aclose(self) -> None:
        """See Outputs. A generator that nobody began to read closes nothing."""
        await self._outputs.aclose()
        await self._stream.aclose()

    async def _told(self) -> AsyncGenerator[Output]:
        ids: list[int] = []
        waiting: Piece | None = None
        begin = 0
        async for item in self._stream:
            if isinstance(item, Piece):
                if waiting is None and any(map(math.isnan, item.logprobs)):
                    waiting, begin = Piece(), len(ids)
                ids += item.token_ids
                if waiting is not None:
                    waiting.append(item)
                    continue
                self._trim(item)
            elif isinstance(item, End) and waiting is not None:
                asking = asyncio.create_task(self._ask(waiting, tuple(ids), begin), name="missing logprobs")
                try:
                    while not (await asyncio.wait([asking], timeout=self._idle_s))[0]:
                        yield Idle()
                    asking.result()
                finally:
                    asking.cancel()
                    await asyncio.wait([asking])
                self._trim(waiting)
                yield waiting
            yield item

    async def _ask(self, piece: Piece, ids: tuple[int, ...], begin: int) -> None:
        for at, value in enumerate(piece.logprobs):
            if math.isnan(value):
                place = begin + at
                context = self._draw.prompt_ids + ids[:place]
                told = await self._score(context, ids[place : place + 1], self._draw.top_logprobs)
                piece.logprobs[at] = told.logprobs[0]
                piece.top[at : at + len(told.top)] = told.top

    def _trim(self, piece: Piece) -> None:
        if not self._draw.token_ids:
            piece.token_ids = []
