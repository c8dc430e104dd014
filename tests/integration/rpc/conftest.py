"""A real service on a real loopback socket, registered by hand: messages are strings, nothing is
generated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from orchestra_rpc import MeshChannel, RpcSettings, RunningServer, Service, open_channel, running
from orchestra_telemetry import Telemetry

NAME = "test.v1.ProbeService"
Handler = Callable[[StringValue, Any], Any]


class SpanCatcher(SpanProcessor):
    """Keeps what ended, and lets a test wait for it."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []
        self._changed = asyncio.Condition()

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def only(self, kind: str) -> ReadableSpan:
        """The one span of a kind (`SERVER`, `CLIENT`): servers end a little after their clients."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: any(span.kind.name == kind for span in self.ended))
        (span,) = [span for span in self.ended if span.kind.name == kind]
        return span


@dataclass
class Probe:
    """What the service does; each test puts its own in."""

    ask: Handler | None = None
    stream: Handler | None = None
    chat: Callable[[AsyncIterator[StringValue], Any], Any] | None = None
    gather: Callable[[AsyncIterator[StringValue], Any], Awaitable[StringValue]] | None = None
    spans: SpanCatcher = field(default_factory=SpanCatcher)

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
        return Telemetry.start(service, span_processor=self.spans)


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
