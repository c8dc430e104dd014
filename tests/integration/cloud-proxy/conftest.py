"""A real proxy over gRPC, before llmock or a server of raw bytes; its ledger keeps what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestra.cloud.v1 import cloud_proxy_service_pb2 as pb
from orchestra.cloud.v1.cloud_proxy_service_pb2_grpc import CloudProxyServiceStub
from orchestra.generation.v1 import event_pb2, prompt_pb2, request_pb2
from orchestra.ledger.v1 import cost_ledger_service_pb2 as ledger_pb
from orchestra.ledger.v1 import cost_ledger_service_pb2_grpc as ledger_grpc
from orchestra.ledger.v1 import entry_pb2
from orchestra_cloud_proxy.app import Proxy, build
from orchestra_cloud_proxy.config import Settings
from orchestra_config import loads
from orchestra_errors import OrchestraError
from orchestra_rpc import RpcSettings, Service, call_stream, open_channel, running
from orchestra_telemetry import Telemetry

KEY = "canary-7f3a91c2d4-key"
MODEL = "gpt-4o"


class KeepingLedger(ledger_grpc.CostLedgerServiceServicer):
    """Answers as the ledger does, and keeps the entries."""

    def __init__(self) -> None:
        self.prices = [
            entry_pb2.Price(
                price_version="price-1",
                provider="acme",
                model=MODEL,
                input_nanos_per_million=2_500_000_000,
                output_nanos_per_million=10_000_000_000,
            )
        ]
        self.entries: dict[str, entry_pb2.UsageEntry] = {}
        self.settled: list[str] = []
        self._changed = asyncio.Condition()

    async def ListPrices(self, request: Any, context: Any) -> ledger_pb.ListPricesResponse:
        return ledger_pb.ListPricesResponse(prices=self.prices)

    async def RecordUsage(self, request: Any, context: Any) -> ledger_pb.RecordUsageResponse:
        return ledger_pb.RecordUsageResponse(recorded=await self._keep(request.entries))

    async def Settle(self, request: Any, context: Any) -> ledger_pb.SettleResponse:
        self.settled += [entry.attempt_id for entry in request.entries]
        return ledger_pb.SettleResponse(settled=await self._keep(request.entries))

    async def _keep(self, entries: Any) -> int:
        async with self._changed:
            for entry in entries:
                self.entries.setdefault(entry.attempt_id, entry)
            self._changed.notify_all()
        return len(entries)

    async def entry(self, attempt_id: str) -> entry_pb2.UsageEntry:
        """The entry of that attempt, as soon as it is there."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: attempt_id in self.entries)
            return self.entries[attempt_id]


@dataclass
class Running:
    """A proxy that serves."""

    proxy: Proxy
    stub: Any
    ledger: KeepingLedger
    address: str

    async def events(
        self, request: pb.GenerateRequest, timeout: float | None = 20
    ) -> list[event_pb2.GenerationEvent]:
        """Every event of a stream that ends well. Raises kinds."""
        seen: list[event_pb2.GenerationEvent] = []
        async with call_stream(self.stub.Generate(request, timeout=timeout)) as messages:
            async for message in messages:
                seen.append(message.event)
        return seen

    async def failure(
        self, request: pb.GenerateRequest, timeout: float | None = 20
    ) -> tuple[OrchestraError, list[event_pb2.GenerationEvent]]:
        """What a stream that fails ends with, and what came before."""
        seen: list[event_pb2.GenerationEvent] = []
        with pytest.raises(OrchestraError) as caught:
            async with call_stream(self.stub.Generate(request, timeout=timeout)) as messages:
                async for message in messages:
                    seen.append(message.event)
        return caught.value, seen


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts proxies before a base URL; what they leave is closed at the end."""
    async with AsyncExitStack() as stack:

        async def begin(
            base_url: str,
            *,
            kind: str = "openai",
            more: str = "",
            services: str = "{}",
            models: str = "",
            more_models: str = "",
            keyless: bool = False,
            **settings: Any,
        ) -> Running:
            secrets = tmp_path / "secrets"
            (secrets / "acme").mkdir(parents=True, exist_ok=True)
            (secrets / "acme" / "key").write_text(KEY + "\n")
            ledger = KeepingLedger()  # type: ignore[abstract]  # what it lacks answers NOT_YET
            ledger_server = await stack.enter_async_context(
                running(
                    [
                        Service(
                            "orchestra.ledger.v1.CostLedgerService",
                            ledger_grpc.add_CostLedgerServiceServicer_to_server,
                            ledger,
                        )
                    ],
                    settings=RpcSettings(listen="127.0.0.1:0", drain_s=0),
                )
            )
            secret_names = "[]" if keyless else "[acme/key]"
            offered = f"{{{MODEL}: {MODEL}, {more_models}}}"
            config = loads(f"""
addresses: {{cost_ledger: "{ledger_server.address}"}}
{models}
services: {{cloud_proxy: {services}}}
providers:
  - {{name: acme, kind: {kind}, base_url: "{base_url}", secrets: {secret_names}, models: {offered}{more}}}
""")
            chosen = Settings(
                state_dir=tmp_path / f"state-{id(ledger)}", secrets_dir=secrets, metrics_port=0, **settings
            )
            proxy = await build(config, chosen, Telemetry.off())
            stack.push_async_callback(proxy.shutdown.close)
            server = await stack.enter_async_context(
                running([proxy.service], settings=RpcSettings(listen="127.0.0.1:0", drain_s=0))
            )
            channel = open_channel(server.address)
            stack.push_async_callback(channel.close)
            async with asyncio.timeout(10):
                await proxy.prices.heard.wait()
            return Running(proxy, CloudProxyServiceStub(channel), ledger, server.address)

        yield begin


@pytest.fixture
def ask() -> Callable[..., pb.GenerateRequest]:
    """A request for gpt-4o; keyword arguments are fields of Sampling."""

    def make(
        text: str = "Say something.",
        *,
        attempt_id: str = "req-1/0/1",
        attempts_left: int = 1,
        reservation_id: str = "",
        first: int = 0,
        **sampling: Any,
    ) -> pb.GenerateRequest:
        generation = request_pb2.GenerationRequest(request_id="req-1", run_id="run-1", phase="")
        message = generation.chat.messages.add(role=prompt_pb2.ROLE_USER)
        message.parts.add(text=text)
        generation.routing.model = MODEL
        for name, value in sampling.items():
            if isinstance(value, list):
                getattr(generation.sampling, name).extend(value)
            else:
                setattr(generation.sampling, name, value)
        hop = request_pb2.HopContext(
            attempt_id=attempt_id,
            attempts_left=attempts_left,
            reservation_id=reservation_id,
            first_sample_index=first,
            tenant="tenant-1",
        )
        return pb.GenerateRequest(generation=generation, hop=hop)

    return make


@dataclass
class RawServer:
    """Says exactly the bytes that it is told to, once a connection. `gone` counts clients that left."""

    answers: list[bytes]
    hold: bool = False
    """Keep the connection open after the last byte, until the client closes it."""
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    gone: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    said: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            self.requests.append(head + await reader.readexactly(length))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(answer)
            await writer.drain()
            self.said.release()
            if self.hold:
                await reader.read()
                self.gone.release()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.release()
        finally:
            writer.close()


@pytest.fixture
def raw() -> Callable[..., Any]:
    """`async with raw([bytes…]) as server`."""

    @asynccontextmanager
    async def make(answers: list[bytes], *, hold: bool = False) -> AsyncIterator[RawServer]:
        server = RawServer(answers, hold)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.port = listening.sockets[0].getsockname()[1]
        async with listening:
            yield server

    return make


@pytest.fixture(autouse=True)
def no_key_in_output(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever a test does, the key is not printed or logged."""
    yield
    out, err = capfd.readouterr()
    assert KEY not in out + err
