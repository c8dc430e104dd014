"""A service's life: bind, say so, serve until told to stop, drain, close what it held in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection, Sequence
from graphlib import TopologicalSorter

import grpc
import structlog

from orchestra_rpc.server import RunningServer, Service, running
from orchestra_rpc.settings import RpcSettings
from orchestra_telemetry import Telemetry

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
log = structlog.get_logger()


class Shutdown:
    """What has to be closed, and after what. Independent things close at the same time."""

    def __init__(self, limit_s: float = 5.0) -> None:
        self._limit_s = limit_s
        self._closers: dict[str, tuple[Callable[[], Awaitable[object]], tuple[str, ...]]] = {}

    def add(self, name: str, close: Callable[[], Awaitable[object]], *, after: Sequence[str] = ()) -> None:
        """Close `name` once everything in `after` is closed (a pool after those who use it).

        Raises ValueError when the name is taken.
        """
        if name in self._closers:
            raise ValueError(f"{name} is closed already by another")
        self._closers[name] = (close, tuple(after))

    async def close(self) -> None:
        """Close all, each within the limit. One that fails or hangs is logged and holds up nothing else.

        Raises ValueError for an `after` that names nothing, and graphlib.CycleError for a circle.
        """
        unknown = {name for _, after in self._closers.values() for name in after} - self._closers.keys()
        if unknown:
            raise ValueError(f"nothing to close by the name of {', '.join(sorted(unknown))}")
        order = TopologicalSorter({name: after for name, (_, after) in self._closers.items()})
        order.prepare()
        while order.is_active():
            ready = order.get_ready()
            await asyncio.gather(*(self._close_one(name) for name in ready))
            order.done(*ready)
        self._closers.clear()

    async def _close_one(self, name: str) -> None:
        try:
            async with asyncio.timeout(self._limit_s):
                await self._closers[name][0]()
        except Exception as exc:
            log.error("closing failed", what=name, exc_info=exc)


async def serve(
    services: Sequence[Service],
    *,
    settings: RpcSettings,
    telemetry: Telemetry | None = None,
    open_ended: Collection[str] = (),
    shutdown: Shutdown | None = None,
    on_bound: Callable[[str, int], None] | None = None,
    stop: asyncio.Event | None = None,
    credentials: grpc.ServerCredentials | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`, drain, close `shutdown`, return. A second signal ends the
    drain's waiting.

    Raises PortInUse; what `shutdown` holds is closed then, too.
    """
    stop = stop or asyncio.Event()
    try:
        async with running(
            services, settings=settings, telemetry=telemetry, open_ended=open_ended, credentials=credentials
        ) as server:
            loop = asyncio.get_running_loop()
            for number in _SIGNALS:
                loop.add_signal_handler(number, _on_signal, stop, server)
            try:
                log.info("serving", address=server.address, services=[service.name for service in services])
                if on_bound is not None:
                    on_bound(server.host, server.port)
                await stop.wait()
                await server.drain()
            finally:
                for number in _SIGNALS:
                    loop.remove_signal_handler(number)
    finally:
        if shutdown is not None:
            await shutdown.close()
    log.info("stopped")


def _on_signal(stop: asyncio.Event, server: RunningServer) -> None:
    if stop.is_set():
        server.hurry.set()
    stop.set()
