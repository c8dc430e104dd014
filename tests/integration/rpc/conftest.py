"""A real service on a real loopback socket, registered by hand: messages are strings, so no generated code is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestra_rpc import MeshChannel, RpcSettings, RunningServer, Service, open_channel, running
from orchestra_telemetry import Telemetry

NAME = "test.v1.ProbeService"
Handler = Callable[[StringValue, Any], Any]


@dataclass
class Probe:
    """What the service does; each test puts its own in."""

    ask: Handler | None = None
    stream: Handler | None = None
    chat: Callable[[AsyncIterator[StringValue], Any], Any] | None = None
    gather: Callable[[AsyncIterator[StringValue], Any], Awaitable[StringValue]] | None = None
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def add(self, _servicer: object, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {}
        coding: Any = {
            "request_deserializer": StringValue.FromString,
            "response_serializer": StringValue.SerializeToString,
        }
        if self.ask:
            handlers["Ask"] = grpc.unary_unary_rpc_method_handler(self.ask, **coding)
        if self.stream:
            handlers["Stream"] = grpc.unary_stream_rpc_method_handler(self.stream, **coding)
        if self.chat:
            handlers["Chat"] = grpc.stream_stream_rpc_method_handler(self.chat, **coding)
        if self.gather:
            handlers["Gather"] = grpc.stream_unary_rpc_method_handler(self.gather, **coding)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    def telemetry(self, service: str = "probe") -> Telemetry:
        return Telemetry.start(service, span_processor=SimpleSpanProcessor(self.spans))

    async def span(self, kind: str) -> Any:
        """The one finished span of a kind (`SERVER`, `CLIENT`); waits for it, since servers end after clients."""
        async with asyncio.timeout(5):
            while not (found := [s for s in self.spans.get_finished_spans() if s.kind.name == kind]):
                await asyncio.sleep(0)
        assert len(found) == 1
        return found[0]


class Caller:
    """Calls a probe service."""

    def __init__(self, channel: MeshChannel) -> None:
        coding: Any = {
            "request_serializer": StringValue.SerializeToString,
            "response_deserializer": StringValue.FromString,
        }
        self.channel = channel
        self.ask = channel.unary_unary(f"/{NAME}/Ask", **coding)
        self.stream = channel.unary_stream(f"/{NAME}/Stream", **coding)
        self.chat = channel.stream_stream(f"/{NAME}/Chat", **coding)
        self.gather = channel.stream_unary(f"/{NAME}/Gather", **coding)


@dataclass
class Net:
    """Starts servers and channels, and ends them all with the test."""

    stack: AsyncExitStack

    async def server(
        self,
        probe: Probe,
        telemetry: Telemetry | None = None,
        checks: Any = (),
        open_ended: Any = (),
        **settings: Any,
    ) -> RunningServer:
        chosen = RpcSettings(**({"drain_s": 5.0} | settings))
        return await self.stack.enter_async_context(
            running(
                [Service(NAME, probe.add, probe, checks=checks)],
                settings=chosen,
                telemetry=telemetry,
                open_ended=open_ended,
            )
        )

    async def caller(self, server: RunningServer, telemetry: Telemetry | None = None, **how: Any) -> Caller:
        channel = open_channel(server.address, telemetry=telemetry, **how)
        self.stack.push_async_callback(channel.close)
        return Caller(channel)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with AsyncExitStack() as stack:
        yield Net(stack)


@pytest.fixture
def probe_type() -> type[Probe]:
    return Probe


@pytest.fixture
def text() -> Callable[[str], StringValue]:
    return lambda value: StringValue(value=value)
