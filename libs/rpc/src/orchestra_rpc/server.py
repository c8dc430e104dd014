"""Assembling a server: services, health, reflection, limits, and its drain."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from orchestra_rpc.health import Check, Health
from orchestra_rpc.interceptor import MeshInterceptor
from orchestra_rpc.running_calls import RunningCalls
from orchestra_rpc.settings import RpcSettings
from orchestra_telemetry import Telemetry

HEALTH = "grpc.health.v1.Health"
log = structlog.get_logger()


class PortInUse(Exception):
    """The address cannot be listened on; the text is one line for the user."""


@dataclass(frozen=True)
class Service:
    """One gRPC service: its full name, how the generated code adds it, who answers, and what its health
    depends on."""

    name: str
    add: Callable[[Any, Any], None]
    servicer: object
    checks: Sequence[Check] = ()


class RunningServer:
    """A server that answers. `port` and `address` are the bound ones; `calls` are those being answered."""

    def __init__(
        self,
        server: grpc.aio.Server,
        settings: RpcSettings,
        host: str,
        port: int,
        health: Health,
        calls: RunningCalls,
    ) -> None:
        self._server = server
        self._settings = settings
        self._health = health
        self._drained: asyncio.Task[None] | None = None
        self.hurry = asyncio.Event()
        """Set to end a drain's waiting early."""
        self.host = host
        self.port = port
        self.calls = calls

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host

    async def drain(self) -> None:
        """Two stages: say NOT_SERVING, refuse new calls and let running ones finish; then end what still
        runs.

        May be called more than once; every caller waits for the same drain.
        """
        if self._drained is None:
            self._drained = asyncio.create_task(self._drain(), name="drain")
        await asyncio.shield(self._drained)

    async def _drain(self) -> None:
        settings = self._settings
        self._health.leave()
        if settings.drain_notice_s:
            await self._wait(self.hurry.wait(), settings.drain_notice_s)
        self.calls.begin_drain()
        log.info("draining", running=len(self.calls), seconds=settings.drain_s)
        await self._wait(self.calls.idle(settings.drain_s), settings.drain_s)
        cut = self.calls.end_all()
        if cut:
            log.warning("calls ended by drain", count=cut)
            await self.calls.idle(2.0)
        await self._server.stop(0.2)

    async def _wait(self, work: Any, seconds: float) -> None:
        waiting = [asyncio.ensure_future(work), asyncio.ensure_future(self.hurry.wait())]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@asynccontextmanager
async def running(
    services: Sequence[Service],
    *,
    settings: RpcSettings,
    telemetry: Telemetry | None = None,
    open_ended: Collection[str] = (),
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[RunningServer]:
    """A server that answers inside the block and is drained on the way out. Raises PortInUse.

    `open_ended` names methods (`/a.b.C/D`) that have neither a default deadline nor a silence time-out and
    are ended first when the server drains: watches.
    """
    server = await _start(services, settings, telemetry or Telemetry.off(), open_ended, credentials)
    try:
        yield server
    finally:
        await server.drain()


async def _start(
    services: Sequence[Service],
    settings: RpcSettings,
    telemetry: Telemetry,
    open_ended: Collection[str],
    credentials: grpc.ServerCredentials | None,
) -> RunningServer:
    calls = RunningCalls(telemetry.service)
    interceptor = MeshInterceptor(settings, telemetry, calls, open_ended)
    server = grpc.aio.server(interceptors=[interceptor], options=_options(settings))
    health = Health({service.name: service.checks for service in services})
    for service in services:
        service.add(service.servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = [service.name for service in services]
    reflection.enable_server_reflection([*names, HEALTH, reflection.SERVICE_NAME], server)
    telemetry.metrics.declare(_methods(names))
    try:
        host, port = _bind(server, settings.listen, credentials)
        await server.start()
    except BaseException:
        await server.stop(None)
        raise
    return RunningServer(server, settings, host, port, health, calls)


def _methods(names: Sequence[str]) -> list[str]:
    from google.protobuf import descriptor_pool

    found = []
    for name in names:
        try:
            service = descriptor_pool.Default().FindServiceByName(name)
        except KeyError:
            continue  # a service registered by hand, without a proto: its calls count as `other`
        found += [f"{name}/{method.name}" for method in service.methods]
    return found


def _bind(
    server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials | None
) -> tuple[str, int]:
    try:
        port = (
            server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
        )
    except RuntimeError as exc:
        raise PortInUse(f"cannot listen on {listen}: {_why_not(listen)}") from exc
    if listen.startswith("unix:"):
        return listen, 0
    return listen.rpartition(":")[0], port


def _why_not(listen: str) -> str:
    """gRPC says only that binding failed; asking the system once more tells why."""
    host, _, port = listen.rpartition(":")
    try:
        with socket.create_server((host.strip("[]"), int(port))):
            return "gRPC could not bind it"
    except socket.gaierror as exc:
        return exc.strerror or str(exc)
    except OSError as exc:
        return os.strerror(exc.errno) if exc.errno else str(exc)
    except (ValueError, OverflowError):
        return "not host:port"


def _options(settings: RpcSettings) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # two services on one port would share its calls at random: an error instead
        ("grpc.so_reuseport", 0),
        ("grpc.max_metadata_size", 64 * 1024),
        ("grpc.absolute_max_metadata_size", 128 * 1024),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # without it a frozen peer is noticed ten times later
        ("grpc.http2.ping_timeout_ms", 5_000),
        # our channels ping every 5 s; a server that allows less answers with GOAWAY
        ("grpc.http2.min_ping_interval_without_data_ms", 2_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
