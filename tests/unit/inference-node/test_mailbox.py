"""Between an engine's thread and a stream: nothing lost, nothing doubled, in order, and bounded."""

from __future__ import annotations

import asyncio
import threading

from orchestra_inference_node.adapters.mailbox import Mailbox
from orchestra_inference_node.domain.drawing import End, EndReason, Piece, Prefill

THE_END = End(EndReason.STOP, "", 1, 0, 1)


async def test_ready_pieces_merge_while_the_reader_is_away() -> None:
    box = Mailbox()
    for done in (0, 128, 256):
        box.put(Prefill(done, 256, 0))
    for number in range(1000):
        box.put(Piece(str(number % 10), [number], tokens=1))
    box.put(THE_END)
    assert await box.get(1.0) == Prefill(256, 256, 0)
    piece = await box.get(1.0)
    assert isinstance(piece, Piece)
    assert (len(piece.text), piece.token_ids, piece.tokens) == (1000, list(range(1000)), 1000)
    assert await box.get(1.0) is THE_END


async def test_a_reader_that_waits_gets_each_piece_as_it_comes() -> None:
    box = Mailbox()
    taken = threading.Event()
    seen = []

    def engine() -> None:
        for number in range(20):
            taken.clear()
            box.put(Piece(str(number), [number], tokens=1))
            taken.wait(5)
        box.put(THE_END)

    running = asyncio.get_running_loop().run_in_executor(None, engine)
    while True:
        item = await box.get(5.0)
        if not isinstance(item, Piece):
            break
        seen.append(item.token_ids)
        taken.set()
    await running
    assert item is THE_END
    assert seen == [[number] for number in range(20)]


async def test_silence_ends_the_wait() -> None:
    box = Mailbox()
    assert await box.get(0.01) is None
    box.put(THE_END)
    assert await box.get(5.0) is THE_END


async def test_nothing_is_lost_under_load() -> None:
    box = Mailbox()

    def engine() -> None:
        for number in range(5000):
            box.put(Piece("x", [number], tokens=1))
        box.put(THE_END)

    running = asyncio.get_running_loop().run_in_executor(None, engine)
    ids: list[int] = []
    while isinstance(item := await box.get(5.0), Piece):
        ids += item.token_ids
    await running
    assert ids == list(range(5000))
