"""`grpc.health.v1.Health`: every service by name, each as healthy as the checks it depends on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

Check = Callable[[], Awaitable[bool]]
"""False, an exception or taking over a second means: not serving."""

_FRESH_S = 1.0
_CHECK_LIMIT_S = 1.0
_Status = health_pb2.HealthCheckResponse
log = structlog.get_logger()


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers for `""` (all services together) and for each service name; other names are NOT_FOUND (Check)
    or SERVICE_UNKNOWN (Watch), as the protocol says."""

    def __init__(self, checks: Mapping[str, Sequence[Check]]) -> None:
        self._checks = {name: tuple(of) for name, of in checks.items()}
        self._checks[""] = tuple(dict.fromkeys(check for of in self._checks.values() for check in of))
        self._seen: dict[str, tuple[float, bool]] = {}
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """NOT_SERVING for good; watchers learn of it at once."""
        self._leaving.set()

    async def serving(self, name: str) -> bool | None:
        """Whether `name` serves; None for an unknown name. Answers are kept for a second."""
        checks = self._checks.get(name)
        if checks is None:
            return None
        if self._leaving.is_set():
            return False
        if not checks:
            return True
        at, known = self._seen.get(name, (0.0, False))
        if time.monotonic() - at < _FRESH_S:
            return known
        answers = await asyncio.gather(*(_passes(check) for check in checks))
        self._seen[name] = (time.monotonic(), all(answers))
        return all(answers)

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        serving = await self.serving(request.service)
        if serving is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return _Status(status=_Status.SERVING if serving else _Status.NOT_SERVING)

    async def List(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        answer = health_pb2.HealthListResponse()
        for name in self._checks:
            serving = await self.serving(name)
            answer.statuses[name].status = _Status.SERVING if serving else _Status.NOT_SERVING
        return answer

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        last: int | None = None
        while True:
            serving = await self.serving(request.service)
            status = _Status.SERVING if serving else _Status.NOT_SERVING
            status = _Status.SERVICE_UNKNOWN if serving is None else status
            if status != last:
                last = status
                yield _Status(status=status)
            if self._leaving.is_set():
                return
            try:
                await asyncio.wait_for(self._leaving.wait(), _FRESH_S)
            except TimeoutError:
                continue


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_LIMIT_S):
            return bool(await check())
    except Exception as exc:
        log.debug("health check failed", check=getattr(check, "__qualname__", str(check)), error=repr(exc))
        return False
