"""Deadlines are handed down and shrink; silence and cancellation end a handler, with a reason where one can
be told."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from orchestra_errors import DeadlineExceeded, StreamSilent
from orchestra_rpc import Deadline, call_stream, call_unary, current_deadline, deadline_scope


async def test_a_handler_is_stopped_in_time_to_explain_itself(net: Any, probe_type: Any, text: Any) -> None:
    stopped = asyncio.Event()

    async def ask(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    caller = await net.caller(await net.server(probe_type(ask=ask)))
    with pytest.raises(DeadlineExceeded) as raised:
        await call_unary(caller.ask(text("x"), timeout=0.3))
    # only the server knows these words: without the trimming the caller's own timer would have answered
    assert raised.value.metadata["what"] == "test.v1.ProbeService/Ask"
    async with asyncio.timeout(5):
        await stopped.wait()


async def test_the_deadline_shrinks_over_three_hops(net: Any, probe_type: Any, text: Any) -> None:
    seen: list[float] = []

    async def last(request: Any, context: Any) -> Any:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.remaining())
        return text("done")

    caller = await net.caller(await net.server(probe_type(ask=last)))
    for _ in range(2):
        below = caller

        async def middle(request: Any, context: Any, below: Any = below) -> Any:
            deadline = current_deadline()
            assert deadline is not None
            seen.append(deadline.remaining())
            return await call_unary(below.ask(request))

        caller = await net.caller(await net.server(probe_type(ask=middle)))
    await call_unary(caller.ask(text("x"), timeout=20))
    assert 20 > seen[0] > seen[1] > seen[2] > 10


async def test_a_call_may_ask_for_less_and_never_for_more(net: Any, probe_type: Any, text: Any) -> None:
    seen: list[float] = []

    async def ask(request: Any, context: Any) -> Any:
        deadline = current_deadline()
        assert deadline is not None
        seen.append(deadline.remaining())
        return text("done")

    caller = await net.caller(await net.server(probe_type(ask=ask), default_unary_deadline_s=600))
    with deadline_scope(Deadline.after(30)):
        await call_unary(caller.ask(text("x"), timeout=10))
        await call_unary(caller.ask(text("x"), timeout=500))
    await call_unary(caller.ask(text("x")))
    assert seen[0] < 10 < 25 < seen[1] < 30 < 590 < seen[2] <= 600


async def test_open_ended_calls_have_no_deadline_of_their_own(net: Any, probe_type: Any, text: Any) -> None:
    async def stream(request: Any, context: Any) -> Any:
        yield text(str(current_deadline()))

    server = await net.server(probe_type(stream=stream), open_ended=["/test.v1.ProbeService/Stream"])
    caller = await net.caller(server)
    async with call_stream(caller.stream(text("x"))) as events:
        assert [event.value async for event in events] == ["None"]


@pytest.mark.parametrize("style", ["generator", "writing"])
async def test_a_silent_stream_ends(net: Any, probe_type: Any, text: Any, style: str) -> None:
    """A stuck backend must not hold its callers until their deadline."""
    stopped = asyncio.Event()

    async def generator(request: Any, context: Any) -> Any:
        try:
            yield text("one")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def writing(request: Any, context: Any) -> None:
        try:
            await context.write(text("one"))
            await asyncio.Event().wait()
        finally:
            stopped.set()

    stream = generator if style == "generator" else writing
    caller = await net.caller(await net.server(probe_type(stream=stream), silence_s=0.2))
    got = []
    with pytest.raises(StreamSilent):
        async with call_stream(caller.stream(text("x"))) as events:
            async for event in events:
                got.append(event.value)
    assert got == ["one"]
    assert stopped.is_set()


async def test_heartbeats_keep_a_stream(net: Any, probe_type: Any, text: Any) -> None:
    async def stream(request: Any, context: Any) -> Any:
        for _ in range(12):
            await asyncio.sleep(0.05)  # the subject is time itself
            yield text("beat")

    caller = await net.caller(await net.server(probe_type(stream=stream), silence_s=0.4))
    async with call_stream(caller.stream(text("x"))) as events:
        assert len([event async for event in events]) == 12


async def test_a_slow_receiver_is_not_the_stream_being_silent(net: Any, probe_type: Any, text: Any) -> None:
    blocked = asyncio.Event()
    big = text("x" * 300_000)

    async def stream(request: Any, context: Any) -> Any:
        for number in range(40):
            if number == 5:
                blocked.set()
            yield big

    caller = await net.caller(await net.server(probe_type(stream=stream), silence_s=0.1))
    async with call_stream(caller.stream(text("x"))) as events:
        first = await anext(events)
        await blocked.wait()
        await asyncio.sleep(0.4)  # longer than the silence allowed, with the writer held by flow control
        rest = [event async for event in events]
    assert first.value == big.value
    assert len(rest) == 39


@pytest.mark.parametrize("way", ["leave the block", "cancel the task", "close the channel"])
async def test_a_caller_that_goes_frees_the_handler(net: Any, probe_type: Any, text: Any, way: str) -> None:
    freed = asyncio.Event()
    cancelled: list[bool] = []

    async def stream(request: Any, context: Any) -> Any:
        try:
            yield text("one")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        finally:
            freed.set()

    caller = await net.caller(await net.server(probe_type(stream=stream)))
    began = asyncio.Event()

    async def read() -> None:
        async with call_stream(caller.stream(text("x"))) as events:
            async for _ in events:
                began.set()
                if way == "leave the block":
                    break

    task = asyncio.create_task(read())
    await began.wait()
    if way == "cancel the task":
        task.cancel()
    elif way == "close the channel":
        await caller.channel.close()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        await freed.wait()
    assert cancelled == [True]


async def test_cancelling_the_first_hop_frees_the_last(net: Any, probe_type: Any, text: Any) -> None:
    freed = asyncio.Event()

    async def last(request: Any, context: Any) -> Any:
        try:
            yield text("one")
            await asyncio.Event().wait()
        finally:
            freed.set()

    below = await net.caller(await net.server(probe_type(stream=last)))

    async def middle(request: Any, context: Any) -> Any:
        async with call_stream(below.stream(request)) as events:
            async for event in events:
                yield event

    caller = await net.caller(await net.server(probe_type(stream=middle)))
    async with call_stream(caller.stream(text("x"))) as events:
        await anext(events)
    async with asyncio.timeout(5):
        await freed.wait()


async def test_a_dead_peer_is_unavailable_and_only_named_methods_are_repeated(
    net: Any, probe_type: Any, text: Any
) -> None:
    asked: list[str] = []

    async def ask(request: Any, context: Any) -> Any:
        asked.append(request.value)
        if len(asked) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return text("third time")

    server = await net.server(probe_type(ask=ask))
    repeating = await net.caller(server, idempotent=["/test.v1.ProbeService/Ask"])
    assert (await call_unary(repeating.ask(text("x")))).value == "third time"
    asked.clear()
    once = await net.caller(server)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await once.ask(text("x"))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert asked == ["x"]
