"""What the server did not tell of a draw is asked for once it has ended, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from orchestra_errors import WorkerLost
from orchestra_inference_node.adapters.llamacpp.told_later import ToldLater
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Idle, Output, Piece, Prefill

END = End(EndReason.STOP, "", 2, 0, 4)


class Stream:
    """Gives what it was made with, then raises."""

    def __init__(self, *outputs: Output, fails: bool = False) -> None:
        self._outputs = iter(outputs)
        self._fails = fails
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[Output]:
        return self

    async def __anext__(self) -> Output:
        for output in self._outputs:
            return output
        if self._fails:
            raise WorkerLost("m", "it broke")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


class Server:
    """Tells minus the length of the context as the logprob, once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.given_up = False

    async def score(self, prompt: tuple[int, ...], target: tuple[int, ...], top: int) -> Piece:
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        return Piece("", list(target), [-float(len(prompt))], tokens=1)


def pieces(*, told: bool = False) -> list[Output]:
    missing = -9.0 if told else math.nan
    return [
        Prefill(2, 2, 0),
        Piece("a", [5], [-0.5], tokens=1),
        Piece("🦊", [6, 7], [missing, -0.25], tokens=2),
        Piece("b", [8], [-0.75], tokens=1),
        END,
    ]


async def test_pieces_wait_from_the_first_gap_on_and_come_whole() -> None:
    server, stream = Server(), Stream(*pieces())
    draw = ToldLater(Draw((1, 2), seed=0, logprobs=True), stream, server.score, 0.01)
    assert await anext(draw) == Prefill(2, 2, 0)
    assert await anext(draw) == Piece("a", [], [-0.5], tokens=1), "ids were not asked for"
    assert await anext(draw) == Idle()
    server.may.set()
    rest = [item async for item in draw if item != Idle()]
    assert rest == [Piece("🦊b", [], [-3.0, -0.25, -0.75], tokens=3), END]
    await draw.aclose()
    assert stream.closed


async def test_what_is_told_passes_as_it_comes() -> None:
    draw = ToldLater(Draw((1, 2), seed=0, token_ids=True), Stream(*pieces(told=True)), Server().score, 0.01)
    assert [item async for item in draw] == pieces(told=True)


async def test_closing_gives_the_question_up_and_an_unread_draw_is_closed_too() -> None:
    server, stream = Server(), Stream(*pieces())
    draw = ToldLater(Draw((1, 2), seed=0), stream, server.score, 0.01)
    while await anext(draw) != Idle():
        continue
    await draw.aclose()
    assert server.given_up and stream.closed
    unread = Stream()
    await ToldLater(Draw((1, 2), seed=0), unread, server.score, 0.01).aclose()
    assert unread.closed


async def test_a_draw_that_breaks_raises_what_it_raised() -> None:
    draw = ToldLater(Draw((1,), seed=0), Stream(*pieces()[:3], fails=True), Server().score, 0.01)
    with pytest.raises(WorkerLost):
        async for _ in draw:
            continue
