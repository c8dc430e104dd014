"""Many asks on one stream: each answered, none lost, the source read no faster than answers are taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestra_client import Ask, Failed, Finished, Orchestra
from orchestra_errors import InvalidRequest

from .conftest import Running


async def test_every_ask_is_answered_under_its_key(mesh: Running) -> None:
    asks = [(f"k{at}", Ask(prompt=f"p{at}", n=1 + at % 3)) for at in range(100)]
    found: Counter[str] = Counter()
    async with Orchestra(mesh.address) as asked, asked.batch(asks, in_flight=8) as answer:
        async for key, event in answer:
            if isinstance(event, Finished):
                found[key] += 1
                assert event.sample.text == "p" + key[1:]
    assert found == {f"k{at}": 1 + at % 3 for at in range(100)}
    assert mesh.router.most_out <= 8


async def test_the_source_waits_for_the_answers(mesh: Running) -> None:
    mesh.router.hold = True
    read = 0

    async def source() -> AsyncIterator[Ask]:
        nonlocal read
        while True:
            read += 1
            yield Ask(prompt="x")

    async with Orchestra(mesh.address) as asked:
        answer = asked.batch(source(), in_flight=3)
        reading = asyncio.create_task(anext(answer))
        assert await asyncio.to_thread(mesh.router.arrived.wait, 5)
        # one more than may be out has been read, and it is held
        assert read == 4
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await asyncio.to_thread(mesh.router.released.wait, 5)
    assert read == 4


async def test_an_ask_goes_out_while_the_next_is_not_there(mesh: Running) -> None:
    answered = asyncio.Event()

    async def source() -> AsyncIterator[Ask]:
        yield Ask(prompt="first")
        await answered.wait()
        yield Ask(prompt="second")

    texts = []
    async with Orchestra(mesh.address) as asked:
        async for _, sample in asked.batch(source()).samples():
            assert not isinstance(sample, Exception)
            texts.append(sample.text)
            answered.set()
    assert texts == ["first", "second"]


async def test_a_wrong_ask_fails_alone(mesh: Running) -> None:
    asks = [Ask(prompt="a"), Ask(prompt="b", objective="fast", n=2), Ask(prompt="c")]
    found: dict[str, list[object]] = {}
    async with Orchestra(mesh.address) as asked:
        async for key, event in asked.batch(asks):
            if isinstance(event, Finished | Failed):
                found.setdefault(key, []).append(event)
    assert [len(found[key]) for key in ("0", "1", "2")] == [1, 2, 1]
    refused = found["1"][0]
    assert isinstance(refused, Failed) and isinstance(refused.error, InvalidRequest)


async def test_a_broken_source_is_the_callers_own_error(mesh: Running) -> None:
    def source() -> Iterator[Ask]:
        yield Ask(prompt="a")
        raise LookupError("no more files")

    async with Orchestra(mesh.address) as asked:
        with pytest.raises(LookupError, match="no more files"):
            async for _ in asked.batch(source()):
                pass
