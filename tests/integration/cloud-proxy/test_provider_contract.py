"""What every adapter of the port Provider does, by its real SDK over real sockets; it runs for each row of
ADAPTERS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib import import_module
from typing import Any

import pytest

from orchestra_cloud_proxy.app import ADAPTERS
from orchestra_cloud_proxy.domain.call import Call, ToolSpec, Turn
from orchestra_cloud_proxy.domain.chunk import Chunk, Finish
from orchestra_cloud_proxy.domain.faults import Where, judge
from orchestra_cloud_proxy.ports import Provider, ProviderFailed
from orchestra_errors import UpstreamKind
from orchestra_secrets import Secret

KEY = Secret("canary-7f3a91c2d4-key")
CALL = Call("model-x", (Turn("user", ("Say something.",)),), max_tokens=100)


@pytest.fixture(params=sorted(ADAPTERS))
async def provider(request: pytest.FixtureRequest, llmock: Any) -> AsyncIterator[Provider]:
    module, _, name = ADAPTERS[request.param].partition(":")
    made: Provider = getattr(import_module(module), name)(llmock.base_url(request.param), connections=4)
    yield made
    await made.close()


async def read(provider: Provider, call: Call = CALL) -> list[Chunk]:
    async with aclosing(provider.stream(call, KEY)) as chunks:
        return [chunk async for chunk in chunks]


async def fails(provider: Provider, call: Call = CALL) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        await read(provider, call)
    assert KEY.reveal() not in str(caught.value) + repr(caught.value.fault)
    assert caught.value.__cause__ is None, "the SDK's error knows the key"
    return caught.value


async def test_text_finish_usage_and_revision(provider: Provider, llmock: Any) -> None:
    llmock.reply("Hello, wörld 👋")
    chunks = await read(provider)
    assert "".join(chunk.text for chunk in chunks) == "Hello, wörld 👋"
    assert [chunk.finish for chunk in chunks if chunk.finish] == [Finish.STOP]
    usage = [chunk.usage for chunk in chunks if chunk.usage][-1]
    assert usage.prompt
    assert usage.completion
    assert any(chunk.revision for chunk in chunks)


async def test_tool_calls(provider: Provider, llmock: Any) -> None:
    llmock.call_tool("look", {"at": "it"})
    call = Call("model-x", CALL.turns, tools=(ToolSpec("look", "", '{"type":"object"}'),), max_tokens=100)
    pieces = [piece for chunk in await read(provider, call) for piece in chunk.tools]
    assert (pieces[0].name, bool(pieces[0].id)) == ("look", True)
    assert "".join(piece.arguments for piece in pieces).replace(" ", "") == '{"at":"it"}'


@pytest.mark.parametrize("after", range(6))
@pytest.mark.parametrize("fault", ["truncate", "disconnect", "corrupt"])
async def test_a_broken_stream_always_fails(provider: Provider, llmock: Any, fault: str, after: int) -> None:
    llmock.reply("one two three four five six seven")
    getattr(llmock, fault)(after_chunks=after)
    await fails(provider)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503, 529])
async def test_a_status_is_told_and_nothing_is_repeated(provider: Provider, llmock: Any, status: int) -> None:
    llmock.fail(status, times=None)
    fault = (await fails(provider)).fault
    assert (fault.where, fault.status) == (Where.ANSWERED, status)
    assert judge(fault).free
    assert len(llmock.requests) == 1


async def test_retry_after_is_told(provider: Provider, llmock: Any) -> None:
    llmock.rate_limit(retry_after=2.5)
    assert (await fails(provider)).fault.retry_after == pytest.approx(2.5)


async def test_cancelling_the_reader_ends_the_request(provider: Provider, llmock: Any) -> None:
    llmock.reply("one two three")
    llmock.stall(after_chunks=2, seconds=30)
    spoke = asyncio.Event()

    async def reading() -> None:
        async for chunk in provider.stream(CALL, KEY):
            if chunk.text:
                spoke.set()

    task = asyncio.create_task(reading())
    await spoke.wait()
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()
    record = await asyncio.to_thread(lambda: llmock.last_request)
    assert not record.completed


async def test_nobody_listens(provider: Provider) -> None:
    gone = type(provider)("http://127.0.0.1:1", connections=1)  # type: ignore[call-arg]
    try:
        assert judge((await fails(gone)).fault).kind is UpstreamKind.UNREACHABLE
    finally:
        await gone.close()
