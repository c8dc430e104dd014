"""A server that fails in every way a socket can: each draw ends with the right kind, and is sent once."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from orchestra_errors import DataLoss, InvalidRequest, NoCapacity, StreamSilent, Unavailable, WorkerLost
from orchestra_inference_node.adapters.openai_server.http import ServerHttp
from orchestra_inference_node.adapters.openai_server.same_model import SameModel
from orchestra_inference_node.adapters.openai_server.site import Site
from orchestra_inference_node.adapters.openai_server.vllm import VllmEngine
from orchestra_inference_node.adapters.openai_server.vllm_trials import Tried
from orchestra_inference_node.domain.drawing import Draw, End, EndReason, Output, Piece
from orchestra_inference_node.ports import EngineFacts

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def event(said: Any) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


TOKEN = event({"choices": [{"index": 0, "text": "a", "token_ids": [7]}]})
FINISH = event({"choices": [{"index": 0, "text": "", "token_ids": [], "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
DONE = b"data: [DONE]\n\n"


def chunked(*parts: bytes, whole: bool = True) -> bytes:
    """A streamed answer; not whole: it breaks off without the last chunk."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return STREAM + b"Transfer-Encoding: chunked\r\n\r\n" + body + (b"0\r\n\r\n" if whole else b"")


def answer(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + body


class RawServer:
    """Answers every request with what `respond` writes. `quiet` is set while no connection is open."""

    def __init__(self, respond: Respond) -> None:
        self.requests: list[bytes] = []
        self.quiet = asyncio.Event()
        self._respond = respond
        self._open = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self.quiet.clear()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
            self.requests.append(await reader.readexactly(int(length)))
            await self._respond(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # the client closed: that is what some tests are about
            return
        finally:
            writer.close()
            self._open -= 1
            if not self._open:
                self.quiet.set()


@asynccontextmanager
async def engine_of(respond: Respond, silence_s: float = 5.0) -> AsyncIterator[tuple[VllmEngine, RawServer]]:
    raw = RawServer(respond)
    server = await asyncio.start_server(raw.handle, "127.0.0.1", 0)
    site = Site(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "", "vllm", silence_s)
    http = ServerHttp(site, "m", "/v1/completions", SameModel("m", "reported:x", lambda: "reported:x"))
    facts = EngineFacts("vLLM", "1", context_tokens=64, slots=2)
    engine = VllmEngine("m", "served", facts, Tried(generates=True), http)
    try:
        yield engine, raw
    finally:
        await engine.close()
        server.close()
        await server.wait_closed()


def says(*parts: bytes) -> Respond:
    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return respond


async def read_all(engine: VllmEngine, **draw: Any) -> list[Output]:
    (stream,) = engine.generate((Draw((1, 2, 3), seed=1, **draw),), idle_s=10.0)
    async with asyncio.timeout(10), aclosing(stream):
        return [output async for output in stream]


async def test_a_good_answer_is_read_the_same_however_it_is_cut_into_packets() -> None:
    whole = chunked(b": a comment\n\n", TOKEN, FINISH, USAGE, DONE)
    expected: list[Output] = [Piece("a", [7], tokens=1), End(EndReason.STOP, "", 3, 0, 1)]
    for parts in ((whole,), tuple(whole[at : at + 1] for at in range(len(whole)))):
        async with engine_of(says(*parts)) as (engine, _):
            assert await read_all(engine, token_ids=True) == expected


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        pytest.param(chunked(TOKEN), WorkerLost, id="a clean end without a finish"),
        pytest.param(chunked(TOKEN, DONE), WorkerLost, id="[DONE] without a finish"),
        pytest.param(chunked(TOKEN, FINISH, DONE), WorkerLost, id="a finish without counts"),
        pytest.param(chunked(TOKEN, FINISH.replace(b"stop", b"abort"), USAGE), WorkerLost, id="an abort"),
        pytest.param(chunked(TOKEN, whole=False), Unavailable, id="the connection ends in the middle"),
        pytest.param(b"", Unavailable, id="no answer at all"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", Unavailable, id="another protocol"),
        pytest.param(answer("200 OK", b"<html>", kind="text/html"), Unavailable, id="a page instead"),
        pytest.param(answer("302 Found", b"", "Location: http://127.0.0.1:1/"), Unavailable, id="a redirect"),
        pytest.param(chunked(TOKEN, b"data: {\n\n"), DataLoss, id="a chunk that is no JSON"),
        pytest.param(chunked(TOKEN, b"data: [1]\n\n"), DataLoss, id="a chunk that is no object"),
        pytest.param(chunked(TOKEN, event({"a": 1})), DataLoss, id="a chunk without choices"),
        pytest.param(chunked(TOKEN, event({"choices": [7]})), DataLoss, id="choices that are none"),
        pytest.param(
            chunked(TOKEN, FINISH, event({"choices": [], "usage": {"prompt_tokens": 3}})),
            DataLoss,
            id="counts with one missing",
        ),
        pytest.param(
            chunked(TOKEN, event({"error": {"message": "x", "code": 500}})), Unavailable, id="error"
        ),
        pytest.param(chunked(event({"object": "error", "message": "x"})), Unavailable, id="an older error"),
        pytest.param(
            chunked(event({"error": {"message": "x", "code": 400}})), InvalidRequest, id="refused late"
        ),
        pytest.param(answer("400 Bad Request", b'{"error": {"message": "bad"}}'), InvalidRequest, id="400"),
        pytest.param(answer("422 Unprocessable", b'{"detail": "bad"}'), InvalidRequest, id="422"),
        pytest.param(answer("401 Unauthorized", b"{}"), Unavailable, id="401"),
        pytest.param(answer("404 Not Found", b'{"error": {"message": "no model"}}'), Unavailable, id="404"),
        pytest.param(answer("500 Internal Server Error", b"oops", kind="text/plain"), Unavailable, id="500"),
        pytest.param(answer("503 Unavailable", b"{}"), Unavailable, id="503"),
    ],
)
async def test_each_fault_is_its_kind_and_the_draw_is_sent_once(
    response: bytes, kind: type[Exception]
) -> None:
    async with engine_of(says(response)) as (engine, raw):
        with pytest.raises(kind) as told:
            await read_all(engine)
        assert len(raw.requests) == 1
    if kind in (Unavailable, WorkerLost):
        assert told.value.retry_after  # type: ignore[attr-defined]


async def test_what_came_before_a_fault_is_handed_over_first() -> None:
    async with engine_of(says(chunked(TOKEN, whole=False))) as (engine, _):
        (stream,) = engine.generate((Draw((1, 2, 3), seed=1),), idle_s=10.0)
        async with asyncio.timeout(10), aclosing(stream):
            assert await anext(stream) == Piece("a", tokens=1)
            with pytest.raises(Unavailable):
                await anext(stream)


async def test_a_reset_is_unavailable() -> None:
    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(TOKEN, whole=False))
        await writer.drain()
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with engine_of(respond) as (engine, _):
        with pytest.raises(Unavailable):
            await read_all(engine)


async def test_too_many_requests_say_when_to_come_back() -> None:
    async with engine_of(says(answer("429 Too Many Requests", b"{}", "Retry-After: 7"))) as (engine, _):
        with pytest.raises(NoCapacity) as told:
            await read_all(engine)
    assert told.value.retry_after == 7


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(chunked(TOKEN, whole=False))
    await writer.drain()
    await reader.read()


async def test_a_stall_ends_the_draw() -> None:
    async with engine_of(silent, silence_s=0.2) as (engine, _):
        with pytest.raises(StreamSilent):
            await read_all(engine)


@pytest.mark.parametrize("after", ["a token", "nothing"])
async def test_a_close_closes_the_connection_and_returns_after_it(after: str) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        if after == "a token":
            writer.write(chunked(TOKEN, whole=False))
        await reader.read()
        gone.set()

    async with engine_of(respond) as (engine, _):
        (stream,) = engine.generate((Draw((1, 2, 3), seed=1),), idle_s=10.0)
        first = asyncio.create_task(anext(stream))
        await asked.wait()
        if after == "a token":
            await first
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        async with asyncio.timeout(5):
            await stream.aclose()
            await gone.wait()


async def test_many_closes_leave_no_task_and_no_connection() -> None:
    async with engine_of(silent) as (engine, raw):
        for at in range(120):
            (stream,) = engine.generate((Draw((1, 2, 3), seed=1),), idle_s=10.0)
            reading = asyncio.create_task(anext(stream))
            # closed after as many steps of the loop: before it is sent, while it is sent, after a token
            for _ in range(at):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            async with asyncio.timeout(5):
                await stream.aclose()
            assert not {"begin run", "run", "upstream"} & {one.get_name() for one in asyncio.all_tasks()}
        assert len(raw.requests) > 20, "some were closed while they ran"
        async with asyncio.timeout(5):
            await raw.quiet.wait()


async def test_a_draw_that_is_closed_unread_is_never_sent() -> None:
    async with engine_of(says()) as (engine, raw):
        (stream,) = engine.generate((Draw((1, 2, 3), seed=1),), idle_s=10.0)
        await stream.aclose()
        assert not raw.requests


async def test_nobody_listening_is_unavailable_and_says_what_to_do() -> None:
    async with engine_of(says()) as (engine, _):
        pass
    site = Site("http://127.0.0.1:9", "", "vllm", 5.0)
    http = ServerHttp(site, "m", "/v1/completions", SameModel("m", "r", lambda: "r"))
    alone = VllmEngine("m", "m", engine.facts, Tried(generates=True), http)
    with pytest.raises(Unavailable, match="start it, or correct the path") as told:
        await read_all(alone)
    assert told.value.retry_after
    await alone.close()


async def test_a_server_that_came_back_with_another_model_is_not_used() -> None:
    held = ["reported:a", "reported:b"]
    same = SameModel("m", "reported:a", lambda: held[0])
    await same.sure()
    held.pop(0)
    await same.sure()
    same.doubt()
    with pytest.raises(Unavailable, match="reported:b now: unload"):
        await same.sure()
