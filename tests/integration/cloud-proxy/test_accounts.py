"""Limits, keys, the list of providers, embeddings, and the real ledger."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as pb
from orchestra.generation.v1 import event_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1.cost_ledger_service_pb2_grpc import CostLedgerServiceStub
from orchestra_accounting import LedgerShipper, Spool
from orchestra_errors import NoCapacity, NotFound, Unsupported
from orchestra_rpc import call_stream, call_unary, open_channel

KEY = "canary-7f3a91c2d4-key"


async def providers(proxy: Any) -> list[pb.Provider]:
    answer = await call_unary(proxy.stub.ListProviders(pb.ListProvidersRequest()))
    return list(answer.providers)


class TestLimits:
    async def test_the_proxy_waits_so_that_the_provider_never_refuses(
        self, start: Any, ask: Any, llmock: Any
    ) -> None:
        """A minute's requests leave at once, the next ones as the bucket fills."""
        llmock.limits(rpm=120)
        proxy = await start(llmock.base_url(), more=", limits: {rpm: 120}", heartbeat_s=0.2)
        began = time.monotonic()
        await asyncio.gather(*(proxy.events(ask(attempt_id=f"r{n}/0/1")) for n in range(122)))
        assert time.monotonic() - began >= 0.9
        assert {request.status for request in llmock.requests} == {200}

    async def test_a_wait_beyond_the_deadline_is_refused_at_once(
        self, start: Any, ask: Any, llmock: Any
    ) -> None:
        proxy = await start(llmock.base_url(), more=", limits: {rpm: 1}")
        await proxy.events(ask())
        error, events = await proxy.failure(ask(reservation_id="res-2"), timeout=5)
        assert isinstance(error, NoCapacity)
        assert error.retry_after is not None
        assert 50 < error.retry_after <= 60
        assert events == []

    async def test_estimates_are_settled_to_the_real_usage(self, start: Any, ask: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url(), more=", limits: {tpm: 100000}")
        events = await proxy.events(ask(max_tokens=50_000))
        used = events[-1].finished.usage
        (listed,) = await providers(proxy)
        assert listed.limit.tokens_left >= 100_000 - used.prompt_tokens - used.completion_tokens - 1

    async def test_places_at_once_are_bounded(self, start: Any, ask: Any, raw: Any) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        async with raw([head], hold=True) as server:
            proxy = await start(server.url, more=", max_concurrency: 2", heartbeat_s=0.1)
            async with call_stream(proxy.stub.Generate(ask(n=5), timeout=20)) as messages:
                waiting: set[int] = set()
                async for message in messages:
                    if message.event.HasField("heartbeat"):
                        waiting.add(message.event.sample_index)
                        kind = message.event.heartbeat.activity
                        assert kind == event_pb2.ACTIVITY_WAITING_FOR_PROVIDER
                    if len(waiting) == 5:
                        break
            assert len(server.requests) == 2


class TestKeys:
    async def test_a_key_is_never_told(self, start: Any, ask: Any, llmock: Any, raw: Any) -> None:
        echo = b'{"error":{"message":"Incorrect API key provided: %s","code":"bad"}}' % KEY.encode()
        head = b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(echo)
        async with raw([head + echo]) as server:
            proxy = await start(server.url)
            error, _ = await proxy.failure(ask())
            assert KEY.encode() in server.requests[0], "the provider is given the key"
        assert KEY not in str(error) + repr(error.metadata)
        assert KEY not in str(await providers(proxy))
        assert KEY not in str(await proxy.ledger.entry("req-1/0/1"))

    async def test_a_rotated_key_is_used_after_reload(
        self, start: Any, ask: Any, raw: Any, tmp_path: Path
    ) -> None:
        whole = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
            b"data: [DONE]\n\n"
        )
        async with raw([whole]) as server:
            proxy = await start(server.url)
            (before,) = await providers(proxy)
            await proxy.events(ask())
            (tmp_path / "secrets/acme/key").write_text("rotated-key")
            answer = await call_unary(proxy.stub.ReloadKeys(pb.ReloadKeysRequest(provider="acme")))
            await proxy.events(ask())
        assert b"Bearer " + KEY.encode() in server.requests[0]
        assert b"Bearer rotated-key" in server.requests[1]
        (slot,) = answer.providers[0].keys
        assert slot.present
        assert slot.loaded_at.ToNanoseconds() > before.keys[0].loaded_at.ToNanoseconds()
        assert slot.source == "acme/key"

    async def test_a_key_that_is_not_there(self, start: Any, ask: Any, llmock: Any, tmp_path: Path) -> None:
        proxy = await start(llmock.base_url())
        (tmp_path / "secrets/acme/key").unlink()
        (listed,) = (await call_unary(proxy.stub.ReloadKeys(pb.ReloadKeysRequest()))).providers
        assert listed.state == pb.PROVIDER_STATE_NOT_SERVING
        assert "acme/key" in listed.state_reason
        error, _ = await proxy.failure(ask())
        assert error.metadata["kind"] == "auth"
        assert not llmock.requests

    async def test_a_provider_that_nobody_configured(self, start: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url())
        with pytest.raises(NotFound):
            await call_unary(proxy.stub.ReloadKeys(pb.ReloadKeysRequest(provider="acne")))

    async def test_a_server_without_keys(self, start: Any, ask: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url(), keyless=True)
        assert (await proxy.events(ask()))[-1].HasField("finished")
        (listed,) = await providers(proxy)
        assert listed.state == pb.PROVIDER_STATE_SERVING
        assert not listed.keys


class TestEmbed:
    async def test_vectors_have_unit_length_and_are_recorded(self, start: Any, llmock: Any) -> None:
        models = "models: [{name: embedder, capabilities: [embed]}]"
        proxy = await start(llmock.base_url(), models=models, more_models="embedder: text-embedding-3-small")
        request = pb.EmbedRequest(model="embedder", texts=["one", "two words"])
        request.hop.attempt_id = "e/0/1"
        answer = await call_unary(proxy.stub.Embed(request))
        assert answer.provider == "acme"
        for embedding in answer.embeddings:
            assert sqrt(sum(value**2 for value in embedding.values)) == pytest.approx(1, abs=1e-5)
        assert len(answer.embeddings) == 2
        entry = await proxy.ledger.entry("e/0/1")
        assert entry.usage.prompt_tokens > 0

    async def test_a_chat_model_has_none(self, start: Any, llmock: Any) -> None:
        proxy = await start(llmock.base_url())
        with pytest.raises(Unsupported):
            await call_unary(proxy.stub.Embed(pb.EmbedRequest(model="gpt-4o", texts=["x"])))


@pytest.fixture
def ledger_port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield port


async def test_the_real_ledger_takes_what_the_proxy_records(
    start: Any, ask: Any, llmock: Any, tmp_path: Path, ledger_port: int
) -> None:
    """A reservation made by hand, settled by the entry that the proxy spooled."""
    environment = os.environ | {
        "ORCHESTRA_LISTEN": f"127.0.0.1:{ledger_port}",
        "ORCHESTRA_METRICS_PORT": "0",
        "ORCHESTRA_STATE_DIR": str(tmp_path / "ledger"),
        "ORCHESTRA_CONFIG": "",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestra_cost_ledger", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    channel = open_channel(f"127.0.0.1:{ledger_port}")
    try:
        stub = CostLedgerServiceStub(channel)
        async with asyncio.timeout(20):
            await channel.channel_ready()
        wish = ledger_pb.ReservationWish(
            attempt_id="req-1/0/1", tenant="tenant-1", provider="acme", model="gpt-4o", max_nanos=10**9
        )
        reserve = ledger_pb.ReserveRequest(request_id="x", wishes=[wish])
        held = (await call_unary(stub.Reserve(reserve))).outcomes[0].reservation
        proxy = await start(llmock.base_url())
        done = (await proxy.events(ask(reservation_id=held.reservation_id)))[-1].finished
        entry = await proxy.ledger.entry("req-1/0/1")
        spool = await Spool.open(tmp_path / "forward")
        shipper = LedgerShipper(stub, spool)
        spool.record(entry)
        shipper.start()
        assert await shipper.flush(timeout=10)
        await shipper.close()
        await spool.close()
        query = ledger_pb.QueryCostsRequest(group_by=["provider", "model"])
        (bucket,) = (await call_unary(stub.QueryCosts(query))).buckets
        assert list(bucket.keys) == ["acme", "gpt-4o"]
        assert bucket.cost_nanos == done.cost.nanos
        assert bucket.samples_finished == 1
    finally:
        await channel.close()
        process.terminate()
        await process.wait()
