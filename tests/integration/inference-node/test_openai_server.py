"""A real llama-server that goes, comes back, comes back as another, wants a key, embeds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestra.inference.v1 import inference_service_pb2 as pb
from orchestra_errors import DataLoss, FailedPrecondition, InvalidRequest, Unavailable
from orchestra_inference_node.adapters.openai_server.opening import inspect, open_server
from orchestra_inference_node.domain.drawing import Draw, End, Output, Piece, Prefill
from orchestra_inference_node.ports import Engine, LoadSettings
from orchestra_testing import GEMMA, SMOL, LlamaServerProcess, model_file
from orchestra_testing.answering import serving
from orchestra_testing.engine_contract import EmbedContract
from orchestra_testing.nodes import NodeProcess, client_of, idle, start_node

ENDLESS = 'root ::= "a" root'


@pytest.fixture
def server() -> Iterator[LlamaServerProcess]:
    """With one slot, so that what holds it is felt by the next."""
    process = LlamaServerProcess(model_file(SMOL), slots=1, context_tokens=1024).start()
    yield process
    process.kill()


@asynccontextmanager
async def opened(url: str, **options: str) -> AsyncIterator[Engine]:
    settings = LoadSettings("m", url, None, None, True, None, options, Path("/nowhere"))
    engine = await asyncio.to_thread(open_server, settings)
    try:
        yield engine
    finally:
        await engine.close()


async def outputs(engine: Engine, ids: tuple[int, ...], **draw: Any) -> list[Output]:
    (stream,) = engine.generate((Draw(ids, seed=1, **draw),), idle_s=10.0)
    async with aclosing(stream):
        return [output async for output in stream]


async def test_a_cancel_frees_the_servers_slot() -> None:
    """Unless it were freed, the next draw would wait for 8,000 tokens, or for a prefill of 6,000."""
    process = LlamaServerProcess(model_file(SMOL), slots=1, context_tokens=8192).start()
    try:
        async with opened(process.url) as engine:
            long = await engine.tokenize("word " * 6000)
            short = await engine.tokenize("def add(a, b):")
            for ids, seen in ((short, Piece), (long, Prefill)):
                (stream,) = engine.generate((Draw(ids, seed=1, grammar=ENDLESS),), idle_s=10.0)
                async for output in stream:
                    if isinstance(output, seen) and getattr(output, "done", 1):
                        break
                # within a second is promised
                async with asyncio.timeout(5):
                    await stream.aclose()
                async with asyncio.timeout(20):
                    assert isinstance((await outputs(engine, short, max_tokens=2))[-1], End)
    finally:
        process.kill()


async def test_ids_that_the_server_does_not_tell_are_not_made_up(server: LlamaServerProcess) -> None:
    async with opened(server.url) as engine:
        ids = await engine.tokenize("🦊🦊🦊🦊🦊🦊")
        plain = await outputs(engine, ids, temperature=0.0, max_tokens=8)
        assert not "".join(one.text for one in plain if isinstance(one, Piece)).isascii()
        for asked in ("token_ids", "logprobs"):
            with pytest.raises(DataLoss):
                await outputs(engine, ids, temperature=0.0, max_tokens=8, **{asked: True})


async def test_a_server_that_wants_a_key_gets_it_from_its_file(tmp_path: Path) -> None:
    process = LlamaServerProcess(model_file(SMOL), slots=1, keys=["open-sesame"]).start()
    key = tmp_path / "key"
    try:
        with pytest.raises(FailedPrecondition, match="wants a key: name an api_key_file"):
            inspect(process.url, {})
        key.write_text("wrong\n")
        with pytest.raises(FailedPrecondition, match="refuses the key") as refusal:
            inspect(process.url, {"api_key_file": str(key)})
        assert "wrong" not in str(refusal.value)
        key.write_text("open-sesame\n")
        assert inspect(process.url, {"api_key_file": str(key)}).chat
        async with opened(process.url, api_key_file=str(key)) as engine:
            ids = await engine.tokenize("Hello")
            assert isinstance((await outputs(engine, ids, max_tokens=1))[-1], End)
    finally:
        process.kill()


def test_what_the_server_says_names_the_weights(server: LlamaServerProcess) -> None:
    seen = inspect(server.url + "/v1", {"server": "llama-server"})
    assert (seen.files, seen.quantization, seen.chat) == ((), "Q4_1", True)
    assert seen.identity.startswith(f"reported:{model_file(SMOL)}:")
    assert inspect(server.url, {"model": str(model_file(SMOL))}) == seen
    with pytest.raises(FailedPrecondition, match="is no vllm"):
        inspect(server.url, {"server": "vllm"})


def test_a_model_without_a_template_of_its_own_does_not_chat() -> None:
    process = LlamaServerProcess(model_file(GEMMA), slots=1).start()
    try:
        assert not inspect(process.url, {}).chat, "the server would make one up"
    finally:
        process.kill()


async def test_vectors_have_unit_length_and_the_servers_counts() -> None:
    process = LlamaServerProcess(model_file(SMOL), slots=1, embeddings=True).start()
    try:
        async with opened(process.url) as engine:
            assert engine.facts.embeddings
            one, other = await engine.embed(("def add(a, b):", "Hello"))
            assert math.hypot(*one.values) == pytest.approx(1.0)
            assert (one.tokens, other.tokens) == (7, 1)
            with pytest.raises(InvalidRequest, match="too large") as refusal:
                await engine.embed(("Hello", "word " * 600))
            assert refusal.value.violations[0].field == "texts[1]"
    finally:
        process.kill()


class TestEmbeddingServer(EmbedContract):
    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls) -> Iterator[pb.ModelSpec]:
        process = LlamaServerProcess(model_file(SMOL), slots=4, embeddings=True).start()
        yield pb.ModelSpec(
            model=SMOL, path=process.url, engine="openai-server", chat=True, slots=2, queue_limit=8
        )
        process.kill()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[NodeProcess]:
    node = start_node(tmp_path)
    yield node
    assert node.stop() == 0, node.log.read_text()


async def test_the_server_may_die_and_come_back_and_the_worker_lives_on(
    daemon: NodeProcess, server: LlamaServerProcess
) -> None:
    # an address is a server's: nothing else loads one
    spec = pb.ModelSpec(model="m", path=server.url, engine="auto", slots=1, queue_limit=4)
    async with client_of(daemon.address, spec) as client:
        await client.load()
        before = await client.worker()
        assert before.revision.startswith("reported:")
        endless = client.ask(grammar=ENDLESS)
        endless.generation.sampling.ClearField("max_tokens")
        running = asyncio.create_task(client.events(endless))
        await client.until_worker(lambda seen: seen.slots_free == 0)
        waiting = asyncio.create_task(client.events(client.ask()))
        await client.until_worker(lambda seen: seen.queued == 1)
        server.kill()
        for draw in (running, waiting):
            async with asyncio.timeout(10):
                with pytest.raises(Unavailable) as lost:
                    await draw
            assert lost.value.retry_after
        await client.until_worker(idle)
        server.start()
        assert (await client.events(client.ask()))[-1].HasField("finished")
        after = await client.worker()
        assert (after.instance_id, after.restarts) == (before.instance_id, 0)
        server.kill()
        server.path = model_file(GEMMA)
        server.start()
        with pytest.raises(Unavailable, match="unload the model and load it again"):
            await client.events(client.ask())
        await client.unload()
        await client.load(chat=False)
        assert (await client.worker()).revision != before.revision


class Page:
    """Some web server."""

    def get(self, path: str) -> tuple[int, Any]:
        return 200, "<html>"

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        return 405, "<html>"


async def test_a_load_says_what_is_amiss_before_any_worker_starts(
    daemon: NodeProcess, server: LlamaServerProcess
) -> None:
    spec = pb.ModelSpec(model="m", path=server.url, engine="openai-server")
    async with client_of(daemon.address, spec) as client:
        with pytest.raises(FailedPrecondition, match="expected was"):
            await client.load(expected_revision="sha256:" + "0" * 64)
        server.kill()
        with pytest.raises(Unavailable, match="start it, or correct the path"):
            await client.load()
        with serving(Page()) as url, pytest.raises(FailedPrecondition, match="no OpenAI-compatible server"):
            await client.load(path=url)
        with pytest.raises(Unavailable, match="the connection broke"):
            await client.load(path=f"http://{daemon.address}")
        with pytest.raises(InvalidRequest, match="not on this host"):
            await client.load(path="http://192.0.2.1:8080")
        assert not (await client.node()).workers
